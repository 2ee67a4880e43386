"""Registers every method with PEFT, so that stock PEFT and transformers build, save and load it."""

from __future__ import annotations

from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.utils import register_peft_method

from nolakit import methods
from nolakit.tuner.config import config_class
from nolakit.tuner.model import ComputedLoraModel
from nolakit.tuner.peft_type import peft_type_member


def register_all() -> None:
    """Make PEFT know the configuration and model class of every method. Again does nothing."""
    for name in methods.names():
        member = peft_type_member(name)
        if member not in PEFT_TYPE_TO_CONFIG_MAPPING:
            register_peft_method(
                name=member.value.lower(),
                config_cls=config_class(name),
                model_cls=ComputedLoraModel,
                prefix=ComputedLoraModel.prefix,
            )
