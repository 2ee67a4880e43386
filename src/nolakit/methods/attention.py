"""What a module's path and shape say of its place in a transformer: the layer, the projection, the heads.

layers.3.self_attn.q_proj  =  layer "layers.3", projection "self_attn.q_proj", heads along the outputs
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nolakit.errors import ConfigError
from nolakit.methods.site import Site

Side = Literal["inputs", "outputs"]

HEADS_ALONG: dict[str, Side] = {
    **dict.fromkeys(("q_proj", "k_proj", "v_proj", "query", "key", "value"), "outputs"),
    **dict.fromkeys(("q", "k", "v", "q_lin", "k_lin", "v_lin"), "outputs"),
    **dict.fromkeys(("o_proj", "out_proj", "o", "out_lin"), "inputs"),
}  # by the last part of the path


@dataclass(frozen=True)
class Heads:
    """How the side `along` of a weight is split: `count` heads of `width`; the other side has the width `plain`.

    attention: False where the name is none of an attention's: the outputs are one head.
    """

    along: Side
    plain: int
    width: int
    count: int
    attention: bool


def heads_of(site: Site, head_dim: int) -> Heads:
    """The heads of a module. Raises ConfigError where attention's are no whole ones."""
    along = HEADS_ALONG.get(site.path.rpartition(".")[2])
    if along is None:
        return Heads("outputs", site.inputs, site.outputs, 1, attention=False)
    split, plain = (site.inputs, site.outputs) if along == "inputs" else (site.outputs, site.inputs)
    if split % head_dim:
        raise ConfigError(
            f"found {split} {along} at {site.path!r}, which are no whole heads of head_dim={head_dim}; give the "
            "model's own head_dim, or name other target_modules"
        )
    return Heads(along, plain, head_dim, split // head_dim, attention=True)


def layer_and_projection(path: str) -> tuple[str, str]:
    """A path up to its last number, and what follows; either may be empty."""
    parts = path.split(".")
    end = max([place for place, part in enumerate(parts, 1) if part.isdecimal()] or [0])
    return ".".join(parts[:end]), ".".join(parts[end:])
