"""torch.compile takes methods whose modules share numbers, or are calibrated, as one graph too."""

import pytest
import torch

from methods.rows import ROWS
from nolakit.testing.adapting import gradients, moved
from nolakit.testing.bases import BASES
from nolakit.testing.comparing import assert_close


@pytest.mark.parametrize("name", ["lorta", "tied_lora", "unilora", "nora: activation-aware"])
def test_fullgraph_outputs_and_gradients(name):
    row = next(row for row in ROWS if row.name == name)
    batch = BASES["linear"].batch()
    torch.compiler.reset()
    model = moved(row).train()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    found, eager = compiled(**batch), moved(row).train()
    assert_close(found.logits, eager(**batch).logits, "output")
    found.loss.backward()
    assert_close(
        {name: value.grad for name, value in model.named_parameters() if value.requires_grad},
        gradients(eager, batch),
        "gradient",
    )
