"""What a module's path says of its place in a transformer: the layer, the projection, and the side that has heads.

layers.3.self_attn.q_proj  =  layer "layers.3", projection "self_attn.q_proj", heads on the output
"""

from __future__ import annotations

from typing import Literal

from nolakit.methods.site import Site

Side = Literal["inputs", "outputs"]

HEADS_ON: dict[str, Side] = {
    **dict.fromkeys(("q_proj", "k_proj", "v_proj", "query", "key", "value"), "outputs"),
    **dict.fromkeys(("q", "k", "v", "q_lin", "k_lin", "v_lin"), "outputs"),
    **dict.fromkeys(("o_proj", "out_proj", "o", "out_lin"), "inputs"),
}  # by the last part of the path


def layer_and_projection(path: str) -> tuple[str, str]:
    """A path up to its last number, and what follows; either may be empty."""
    parts = path.split(".")
    end = max((place for place, part in enumerate(parts, 1) if part.isdecimal()), default=0)
    return ".".join(parts[:end]), ".".join(parts[end:])


def side_with_heads(site: Site) -> Side | None:
    """The side of the weight that attention splits into heads, None where the name is none of an attention's."""
    return HEADS_ON.get(site.path.rpartition(".")[2])
