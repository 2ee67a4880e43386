"""Target modules, checked by name against the base before anything is trained."""

from __future__ import annotations

import re

from peft import PeftConfig
from torch import nn

from nolakit.errors import TargetError
from nolakit.tasks.configurations import SHORTHANDS
from nolakit.tasks.nearest import nearest


def check_targets(model: nn.Module, config: PeftConfig) -> None:
    """Each target names a module of the model, as PEFT matches names: a list's entries by the end of the
    path, a single text as a regular expression of the whole path.

    Raises:
        TargetError: a target that names nothing, with the nearest names that there are.
    """
    targets = getattr(config, "target_modules", None)
    if targets is None or targets in SHORTHANDS:
        return
    paths = [path for path, _ in model.named_modules() if path]
    if isinstance(targets, str):
        try:
            found = any(re.fullmatch(targets, path) for path in paths)
        except re.error as error:
            raise TargetError(
                f"found target_modules={targets!r}, which is not a regular expression: {error}"
            ) from None
        missing = [] if found else [targets]
    else:
        missing = [t for t in sorted(targets) if not any(p == t or p.endswith("." + t) for p in paths)]
    if missing:
        leaves = dict.fromkeys(
            path.rpartition(".")[2] for path, module in model.named_modules() if _adaptable(module)
        )
        names = [name for name in leaves if name and not name.isdigit()]
        raise TargetError(
            f"found target module {missing[0]!r}, which {type(model).__name__} does not have; "
            f"{nearest(missing[0], [*names, *(paths if '.' in missing[0] else [])])}"
        )


def _adaptable(module: nn.Module) -> bool:
    return hasattr(module, "weight") and not any(module.children()) and getattr(module.weight, "ndim", 0) >= 2
