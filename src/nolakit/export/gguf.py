"""Export as a GGUF LoRA adapter, for llama.cpp and what is built on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nolakit.adapter.contents import Adapter
from nolakit.adapter.expand import expand
from nolakit.adapter.files import open_adapter
from nolakit.adapter.paths import FILE_PREFIX
from nolakit.adapter.writing import new_file
from nolakit.errors import AdapterError, ConfigError, UnsupportedError
from nolakit.export.base_files import base_config, base_of
from nolakit.export.base_weights import weights_of
from nolakit.export.gguf_base import architecture_of, heads_of, tensor_names
from nolakit.export.scaling import scaling_of

TYPES = {torch.float32: np.float32, torch.float16: np.float16}


def export_gguf(
    adapter: str | Path,
    path: str | Path,
    *,
    base: str | Path | None = None,
    dtype: torch.dtype = torch.float32,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write an adapter as one GGUF file: `llama-server --model base.gguf --lora FILE`.

        <tensor>.lora_a = lora_A                                         (rank, in)
        <tensor>.lora_b = P lora_B * scaling rank / lora_alpha           (out, rank)

    llama.cpp scales the update of a module by `lora_alpha / rank`; what rslora and alpha_pattern make of it is folded
    into `lora_b`. P orders the rows of q and k in Llama and Mistral as their GGUF weights are, which interleave the two
    halves of each head.

    Args:
        adapter: an adapter folder.
        path: the file to write; appears whole or not at all.
        base: a folder, a config.json or a hub id, of which only the configuration is read; None is the base that the
            adapter names.
        dtype: torch.float32 or torch.float16.
        overwrite: replace what is there.
        progress: called with the number of modules done and of all.

    Returns:
        The file.

    Raises:
        OutputExistsError: `path` is there and `overwrite` is not set.
        AdapterError, ModelError: an adapter or a configuration that cannot be read, or factors too large for float16.
        BaseMismatchError: a module that a model of this configuration does not have.
        UnsupportedError: an architecture, layer or trained tensor that the format has no place for, or no `gguf`.
        ConfigError: another dtype.
    """
    if dtype not in TYPES:
        raise ConfigError(f"found dtype {dtype}; expected float32 or float16 for GGUF")
    gguf = _package()
    with new_file(path, overwrite=overwrite) as fresh:
        file = open_adapter(adapter)
        file.check_computed()
        config = base_config(*base_of(file, base))
        architecture = architecture_of(config)
        _refuse(file, config)
        alpha = float(file.config.get("lora_alpha") or 1.0)  # llama.cpp reads 0 as no scaling at all
        writer = gguf.GGUFWriter(fresh, architecture.name)
        writer.add_type(gguf.GGUFType.ADAPTER)
        writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
        writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
        names = tensor_names(gguf, architecture, config)
        modules, factors = list(file.modules()), expand(file, weight_at=weights_of(file, base))
        for done, module in enumerate(modules, 1):
            lora_a = factors.pop(f"{FILE_PREFIX}{module.path}.lora_A.weight").numpy()
            lora_b = factors.pop(f"{FILE_PREFIX}{module.path}.lora_B.weight").numpy()
            fold = scaling_of(file.config, module) * lora_a.shape[0] / alpha
            if architecture.permuted and module.path.endswith(("q_proj", "k_proj")):
                lora_b = permuted(lora_b, heads_of(config, module))
            tensor = names(module)
            for suffix, factor in ((".lora_a", lora_a), (".lora_b", lora_b * np.float32(fold))):
                writer.add_tensor(tensor + suffix, _cast(factor, TYPES[dtype], module.path))
            if progress:
                progress(done, len(modules))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return Path(path)


def permuted(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows of q or k from transformers' order, (head, half, i), to GGUF's, (head, i, half). # shape: (out, rank)"""
    out, rank = rows.shape
    return rows.reshape(heads, 2, out // heads // 2, rank).swapaxes(1, 2).reshape(out, rank)


def _package() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise UnsupportedError("found no package 'gguf'; pip install 'nolakit[gguf]'") from error
    return gguf


def _refuse(file: Adapter, config: dict[str, Any]) -> None:
    """What GGUF adapters have no place for."""
    whole = [key for key in file.other_tensors() if not key.endswith(".base_layer.weight")]
    if whole:
        raise UnsupportedError(
            f"found {len(whole)} tensors trained whole ({whole[0]!r}); a GGUF adapter holds LoRA factors alone. Merge "
            "instead (--to merged) and convert the model"
        )
    for module in file.modules():
        if len(module.dims["lora_A"]) != 2:
            raise UnsupportedError(f"found a convolution, {module.path!r}, which a GGUF adapter cannot hold")
        if module.canonical == "lm_head" and config.get("tie_word_embeddings"):
            raise UnsupportedError(
                "found an adapted 'lm_head' that the base ties to its embeddings; its GGUF has no such tensor. Merge "
                "instead (--to merged) and convert the model"
            )


def _cast(factor: np.ndarray, kind: Any, path: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        cast = np.ascontiguousarray(factor, dtype=kind)
    if not np.isfinite(cast).all():
        raise AdapterError(f"found a factor of {path!r} that is not finite in {kind.__name__}; take float32")
    return cast
