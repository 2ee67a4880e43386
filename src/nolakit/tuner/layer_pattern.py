"""Rank and scaling by layer, in a form that PEFT's hotswap reads rightly. Tried on PEFT 0.21.2."""

from __future__ import annotations


class LayerPattern(dict):
    """rank_pattern or alpha_pattern, whose `keys` also match the names of a layer's parameters: PEFT's
    hotswap_adapter looks those up where it means the layer, and would give it the default scaling."""

    PARAMETER = r"(\.lora_[AB]\..*)?"

    def keys(self):
        return dict.fromkeys(pattern + self.PARAMETER for pattern in self).keys()

    def get(self, key, default=None):
        return super().get(key.removesuffix(self.PARAMETER), default)
