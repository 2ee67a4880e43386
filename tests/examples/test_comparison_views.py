"""The demo's table and plot, and the sweep's choice, on made-up rows."""

import json
from io import StringIO

import pytest
from plot import plot
from rich.console import Console
from row import Row
from sweep_table import fill, learning_rate_table, result_table
from table import table

SHARED = {"options": {}, "lr": 0.01, "macro_f1": 0.5, "validation_accuracy": 0.5, "steps": 9, "seconds": 3.0}


def made_up(title, method, trained, accuracy, **changed):
    return Row(
        **{**SHARED, "seed": 0, **changed},
        title=title,
        method=method,
        trained=trained,
        trained_head=4620,
        file_bytes=4 * (trained + 4620) + 400,
        accuracy=accuracy,
    )


ROWS = [
    made_up("frozen head", "head", 0, 0.51),
    made_up("LoRA r=1", "lora", 42240, 0.62),
    made_up("NOLA", "nola", 4736, 0.63),
]


def test_the_table_shows_every_row():
    console = Console(file=StringIO(), width=120)
    console.print(table(ROWS))
    text = console.file.getvalue()
    for expected in ("frozen head", "LoRA r=1", "NOLA", "62.0%", "42,240", "4,620"):
        assert expected in text


def test_the_plot_is_a_png_with_its_numbers_beside_it(tmp_path):
    path = plot(ROWS, tmp_path / "new")
    assert path.read_bytes().startswith(b"\x89PNG")
    numbers = json.loads((tmp_path / "new" / "comparison.json").read_text())
    assert [Row(**row) for row in numbers] == ROWS


def test_equal_accuracies_can_be_plotted(tmp_path):
    assert plot([made_up("a", "nola", 10, 0.5), made_up("b", "lora", 10, 0.5)], tmp_path).is_file()


def test_the_sweep_s_tables_use_the_rate_that_validation_chose():
    rows = [
        made_up("NOLA", "nola", 4736, 0.9, lr=0.1, validation_accuracy=0.4),
        made_up("NOLA", "nola", 4736, 0.6, lr=0.01, validation_accuracy=0.5),
        made_up("NOLA", "nola", 4736, 0.7, lr=0.01, validation_accuracy=0.3, seed=1),
    ]
    assert "**0.01: 50.0%**, 0.1: 40.0%" in learning_rate_table(rows)
    assert "| 65.0 ± 7.1 | 0.500 ± 0.000 | 2 |" in result_table(rows)


def test_a_table_goes_between_its_marks():
    text = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb"
    assert fill(text, "x", "new") == "a\n<!-- begin x -->\nnew\n<!-- end x -->\nb"
    with pytest.raises(ValueError, match="no marks"):
        fill(text, "y", "new")


def test_the_demo_takes_the_rates_that_the_sweep_chose():
    from sweep import chosen_lr, read_rows
    from task import METHODS

    rows = read_rows()
    assert {method.title: method.lr for method in METHODS} == {
        method.title: chosen_lr(rows, method.title) for method in METHODS
    }
