"""How the runs of a recipe are measured: classes, texts against references, and MMLU.

Accuracies are in percent, as the papers print them.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from nolakit.bench.recipes.preparing import Prepared, references
from nolakit.bench.recipes.recipe import Recipe
from nolakit.bench.text_scores import text_scores
from nolakit.errors import UnsupportedError
from nolakit.tasks import evaluate, generate
from nolakit.tasks.loading import load_trained, on_accelerator
from nolakit.tasks.models import load_tokenizer

PERCENT = ("accuracy", "macro_f1", "token_accuracy")
DECODING = ("max_new_tokens", "num_beams", "length_penalty", "no_repeat_ngram")
HARNESS = ("num_fewshot", "batch_size", "limit")


def score(recipe: Recipe, adapter: Path, prepared: Prepared) -> dict[str, float]:
    """The metrics of what a run trained.

    Raises:
        DataError: data that cannot be measured on.
        UnsupportedError: a package of the extra `bench` or `mmlu` is missing.
    """
    return SCORES[recipe.evaluation["kind"]](recipe, adapter, prepared)


def _classes(recipe: Recipe, adapter: Path, prepared: Prepared) -> dict[str, float]:
    found = evaluate(adapter, data=prepared.test, split=prepared.split).metrics
    return {name: 100 * value if name in PERCENT else value for name, value in found.items()}


def _texts(recipe: Recipe, adapter: Path, prepared: Prepared) -> dict[str, float]:
    prompts, wanted = references(recipe, prepared)
    options = {name: value for name, value in recipe.evaluation.items() if name in DECODING}
    return text_scores([one.text for one in generate(adapter, prompts, **options)], wanted)


def _mmlu(recipe: Recipe, adapter: Path, prepared: Prepared) -> dict[str, float]:
    """Accuracy of each of `tasks` by lm-evaluation-harness, which seeds the global generators.

    `include_path` names a folder with tasks of one's own, in place of the harness's.
    """
    try:
        harness, tasks = import_module("lm_eval"), import_module("lm_eval.tasks")
        wrapper = import_module("lm_eval.models.huggingface").HFLM
    except ImportError as error:
        missing = (error.name or "lm_eval").partition(".")[0]
        raise UnsupportedError(f"found no package {missing!r}; pip install 'nolakit[mmlu]'") from error
    wanted = recipe.evaluation
    path = wanted.get("include_path")
    trained = load_trained(adapter)
    options = {name: value for name, value in wanted.items() if name in HARNESS}
    found = harness.simple_evaluate(
        model=wrapper(
            pretrained=on_accelerator(trained.model),
            tokenizer=load_tokenizer(trained.base),
            batch_size=wanted.get("batch_size", 1),
        ),
        tasks=list(wanted["tasks"]),
        task_manager=tasks.TaskManager(include_path=path, include_defaults=path is None),
        log_samples=False,
        bootstrap_iters=0,
        **options,
    )
    return {task: 100 * float(found["results"][task]["acc,none"]) for task in wanted["tasks"]}


SCORES: dict[str, Callable[[Recipe, Path, Prepared], dict[str, float]]] = {
    "classes": _classes,
    "texts": _texts,
    "mmlu": _mmlu,
}
