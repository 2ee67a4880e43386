"""A base model as files: its configuration, its safetensors shards, and what else lies beside them.

No model is instantiated and transformers is not imported: a tensor is read by its name in the shards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from nolakit.adapter.contents import Adapter, TensorInfo
from nolakit.adapter.headers import open_safetensors, read_header
from nolakit.adapter.json_text import read_object
from nolakit.errors import AdapterError, ModelError, StreamingError, UnsupportedError

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
COMPANIONS = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", "*.py")
LONGEST_NAME = 255
NOT_COMPANIONS = (CONFIG, INDEX, "training.json", "adapter_config.json")


@dataclass(frozen=True)
class BaseFiles:
    """The files of a base model.

    Attributes:
        folder: where they are.
        config: the content of config.json.
        shards: the file of each tensor.
        tensors: dtype and shape of each tensor, in the order of the shards.
    """

    folder: Path
    config: dict[str, Any]
    shards: dict[str, Path]
    tensors: dict[str, TensorInfo]

    def get_tensor(self, name: str) -> torch.Tensor:
        """A tensor of the base. Its file is opened for it alone, so that no other is held in memory."""
        with open_safetensors(self.shards[name]) as file:
            return file.get_tensor(name)

    def companions(self) -> list[Path]:
        """Tokenizer, generation configuration and code: files that a model folder needs besides its weights."""
        found = {path for pattern in COMPANIONS for path in self.folder.glob(pattern) if path.is_file()}
        return sorted(
            path
            for path in found
            if path.name not in NOT_COMPANIONS and not path.name.endswith(".index.json")
        )


def open_base(name: str | Path, revision: str | None = None) -> BaseFiles:
    """The files of a base model: a folder, or a hub id of which the files in the local cache are taken first.

    Raises:
        ModelError: no such model, or files that cannot be read.
        StreamingError: a base without safetensors files.
        UnsupportedError: a quantised base.
    """
    folder = _folder(str(name), revision)
    config = read_json(folder / CONFIG)
    if quantised := config.get("quantization_config"):
        method = quantised.get("quant_method") if isinstance(quantised, dict) else "an unnamed method"
        raise UnsupportedError(
            f"found a base quantised by {method} in {str(folder)!r}; an update would be rounded away in it. Give the "
            "base as it was before quantisation (--base)"
        )
    tensors, shards = {}, {}
    for shard, expected in _shards(folder).items():
        try:
            header = read_header(shard)
        except AdapterError as error:
            raise ModelError(str(error)) from error
        missing, twice = expected - header.keys(), tensors.keys() & header.keys()
        if missing or twice:
            raise ModelError(
                f"found {min(missing or twice)!r} {'missing from' if missing else 'again in'} {str(shard)!r}; expected "
                "each tensor once, where the index says. Fetch the base again"
            )
        tensors.update(header)
        shards.update(dict.fromkeys(header, shard))
    return BaseFiles(folder, config, shards, tensors)


def base_config(name: str | Path, revision: str | None = None) -> dict[str, Any]:
    """The configuration of a base model alone: a folder, a config.json, or a hub id.

    Raises:
        ModelError: there is none, or it is not JSON.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return read_json(path / CONFIG)
    if path.is_file():
        return read_json(path)

    def load(local: bool) -> str:
        return hf_hub_download(str(name), CONFIG, revision=revision, local_files_only=local)

    return read_json(Path(_from_hub(str(name), load)))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises ModelError where the file is missing or is none."""
    try:
        return read_object(path)
    except AdapterError as error:
        raise ModelError(f"found no readable {path.name} in {str(path.parent)!r}: {error}") from error


def base_of(adapter: Adapter, base: str | Path | None) -> tuple[str | Path, str | None]:
    """The base of an adapter and its revision: as asked for, else as the adapter names it. Raises AdapterError."""
    if base:
        return base, None
    name, revision = (adapter.config.get(key) for key in ("base_model_name_or_path", "revision"))
    if not name or not isinstance(name, str) or not isinstance(revision, str | None):
        raise AdapterError(
            f"found the base model {repr(name)[:80]} of revision {repr(revision)[:80]} in {adapter.name!r}; name "
            "one (--base)"
        )
    return name, revision


def _folder(name: str, revision: str | None) -> Path:
    path = Path(name).expanduser()
    if path.is_dir():
        return path

    def load(local: bool) -> str:
        found = snapshot_download(
            name,
            revision=revision,
            allow_patterns=[*COMPANIONS, "model*.safetensors"],
            local_files_only=local,
        )
        if local and not all(shard.is_file() for shard in _shards(Path(found))):
            raise FileNotFoundError(f"not all shards of {name!r} are in the local cache")
        return found

    return Path(_from_hub(name, load))


def _from_hub(name: str, load: Callable[[bool], str]) -> str:
    """What `load` finds in the local cache, else on the hub."""
    try:
        return load(True)
    except (OSError, HFValidationError, ModelError, StreamingError) as not_all_here:
        try:
            return load(False)
        except (OSError, HFValidationError, HfHubHTTPError) as error:
            if isinstance(not_all_here, StreamingError):
                raise not_all_here from None
            first_line = (str(error).strip() or type(error).__name__).split("\n")[0]
            raise ModelError(
                f"found no base model {name!r}, neither as a folder nor on the hub: {first_line}"
            ) from error


def _shards(folder: Path) -> dict[Path, set[str]]:
    """The files of weights, and the tensors that an index expects in each."""
    if (folder / INDEX).is_file():
        index = read_json(folder / INDEX).get("weight_map")
        if not isinstance(index, dict) or not all(isinstance(file, str) for file in index.values()):
            raise ModelError(f"found {str(folder / INDEX)!r} without a weight_map of file names")
        names = sorted(set(index.values()))
        if any(Path(name).name != name or name == ".." or len(name) > LONGEST_NAME for name in names):
            raise ModelError(
                f"found a shard outside its folder, or with no name of a file, in {str(folder / INDEX)!r}"
            )
        return {folder / name: {tensor for tensor, file in index.items() if file == name} for name in names}
    if (folder / WEIGHTS).is_file():
        return {folder / WEIGHTS: set()}
    raise StreamingError(
        f"found no {WEIGHTS} or {INDEX} in {str(folder)!r}; expected a base whose weights are safetensors. Save it "
        "again with transformers' save_pretrained"
    )
