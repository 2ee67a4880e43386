"""Members of PEFT's closed enum for methods that PEFT does not know, and its private hotswap table.

`peft.PeftType` admits no new member, yet `register_peft_method` demands one; a plain string fails in
transformers, which reads `peft_type.value`. So a member is added the way the enum module adds its own.
Tried on PEFT 0.21.2. `tests/tuner/test_registration.py` fails if any of it moves.
"""

from __future__ import annotations

from peft import PeftType
from peft.utils import hotswap

from nolakit.methods import method_class, peft_type
from nolakit.methods.base import Method

# What must be equal for one adapter's coefficients to be poured into another's modules, besides the method's options.
HOTSWAP_KEYS = (
    "use_rslora", "lora_dropout", "alpha_pattern", "r", "rank_pattern", "coefficient_bits", "coefficient_basis", "seed",
    "frozen_check", "budget", "budget_by", "budget_weights",
)  # fmt: skip
# And where modules share numbers: PEFT scales, or clears, only those modules that have numbers of their own.
SHARED_HOTSWAP_KEYS = ("lora_alpha", "module_names")


def peft_type_member(name: str) -> PeftType:
    """The PeftType member of the method called `name`, added if it is not there yet."""
    value = peft_type(name)
    if value in PeftType.__members__:
        return PeftType[value]
    member = str.__new__(PeftType, value)
    sort_order = len(PeftType.__members__)
    vars(member).update(_name_=value, _value_=value, __objclass__=PeftType, _sort_order_=sort_order)
    PeftType._member_map_[value] = member
    PeftType._member_names_.append(value)
    PeftType._value2member_map_[value] = member
    type.__setattr__(PeftType, value, member)
    method = method_class(name)
    hotswap.CONFIG_KEYS_TO_CHECK[member] = [
        *HOTSWAP_KEYS,
        *(SHARED_HOTSWAP_KEYS if method.owner is not Method.owner else ()),
        *(option for option, _ in method.options()),
    ]
    return member
