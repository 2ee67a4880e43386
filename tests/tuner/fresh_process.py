"""Run as a program: what `test_fresh_process.py` checks in processes that have seen nothing of the tests'.

python fresh_process.py FUNCTION FOLDER
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path


def report(folder: Path) -> None:
    """Load the adapter over the same base in float32 and bfloat16; write what there is to compare."""
    import torch
    from peft import PeftModel

    import nolakit
    from small_models import BY_NAME

    case, seen = BY_NAME["llama"], {}
    for dtype in (torch.float32, torch.bfloat16):
        base = case.make().to(dtype)
        model = PeftModel.from_pretrained(base, folder, adapter_name="elsewhere").eval()
        if dtype == torch.float32:
            with torch.no_grad():
                seen["logits"] = model(**case.batch()).logits
        model.to(dtype)
        for name, parameter in model.named_parameters():
            if name.endswith("coefficients"):
                seen[f"{dtype} {name}"] = parameter.detach().clone()
                seen[f"{dtype} {name} basis"] = basis_of(model.get_submodule(name.rpartition(".")[0]))
    seen["streams"] = torch.tensor(
        [nolakit.basis.stream_number(role, "layers.0") >> 32 for role in ("lora_A", "lora_B", "lora_A0")]
    )
    torch.save(seen, folder / "seen.pt")


def basis_of(factor):
    """Every basis vector of a factor, by one-hot coefficients. # shape: (num_basis, size)"""
    import torch

    rows = []
    with torch.no_grad():
        for index in range(factor.coefficients.numel()):
            factor.coefficients.zero_()[index] = 1
            rows.append(factor.weight.flatten().clone())
    return torch.stack(rows)


def without_import(folder: Path) -> None:
    """The documented KeyError, and its remedy in the same process."""
    from peft import PeftConfig, PeftModel

    from small_models import BY_NAME

    assert "nolakit" not in sys.modules
    base = BY_NAME["llama"].make()
    for load in (lambda: PeftConfig.from_pretrained(folder), lambda: PeftModel.from_pretrained(base, folder)):
        try:
            load()
        except KeyError as error:
            assert error.args == ("NOLAKIT_NOLA",), error.args
        else:
            raise AssertionError("loaded without nolakit")
    import nolakit

    assert type(PeftConfig.from_pretrained(folder)) is nolakit.NolaConfig
    assert PeftModel.from_pretrained(base, folder).peft_config["default"].num_basis == 24


def light_import(folder: Path) -> None:
    """Importing nolakit loads nothing heavy, and PEFT imported afterwards knows it."""
    import nolakit

    heavy = {"torch", "transformers", "peft", "numpy", "numba", "safetensors"}
    assert not heavy & set(sys.modules), heavy & set(sys.modules)
    assert any(type(finder).__module__ == "nolakit.hook" for finder in sys.meta_path)
    import peft

    assert type(peft.PeftConfig.from_pretrained(folder)) is nolakit.NolaConfig
    assert not any(type(finder).__module__ == "nolakit.hook" for finder in sys.meta_path)
    assert type(peft.__spec__.loader).__module__ != "nolakit.hook"


def startup_file(folder: Path) -> None:
    """With the start-up file, a program that never names nolakit opens its adapters."""
    import site

    site.addsitedir(str(folder / "site"))
    assert not {"torch", "peft"} & set(sys.modules)
    from peft import PeftConfig

    assert PeftConfig.from_pretrained(folder).peft_type == "NOLAKIT_NOLA"


def no_python_hash(folder: Path) -> None:
    """This process has its own PYTHONHASHSEED; SHA-256 of a name has not."""
    from nolakit.basis import stream_number

    expected = int.from_bytes(hashlib.sha256(b"lora_A").digest()[:8], "little")
    assert stream_number("lora_A") == expected == 0x6CEF95A294790711
    (folder / f"hash-{hash('lora_A')}").touch()


def outputs_in_worker(config, model, batch) -> list:
    """For a spawned worker, which unpickles all three."""
    import torch
    from peft import PeftType

    assert config.peft_type is PeftType("NOLAKIT_NOLA")
    with torch.no_grad():
        return model(**batch).logits.tolist()


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
