"""A member of PEFT's closed enum that behaves like those PEFT brought, in copies and in other processes."""

import copy
import json
import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import peft
import torch
from peft import PeftType
from peft.mapping import (
    PEFT_TYPE_TO_CONFIG_MAPPING,
    PEFT_TYPE_TO_PREFIX_MAPPING,
    PEFT_TYPE_TO_TUNER_MAPPING,
)
from peft.utils import hotswap

from nolakit import ComputedLoraModel, NolaConfig
from nolakit.tuner.peft_type import peft_type_member
from nolakit.tuner.registration import register_all
from small_models import BY_NAME
from tuner.adapting import adapted, config_for, logits
from tuner.fresh_process import outputs_in_worker

NAME = "NOLAKIT_NOLA"
CASE = BY_NAME["llama"]


def test_member_is_like_any_other():
    member = PeftType(NAME)
    assert member is PeftType[NAME] is getattr(PeftType, NAME) and isinstance(member, PeftType)
    assert (member.name, member.value, str.__str__(member)) == (NAME, NAME, NAME)
    assert list(PeftType).count(member) == 1 and member in PeftType
    assert member == NAME and hash(member) == hash(NAME) and member.value.lower() == NAME.lower()
    assert repr(member) == f"<PeftType.{NAME}: {NAME!r}>"


def test_peft_knows_every_part():
    member = PeftType(NAME)
    assert PEFT_TYPE_TO_CONFIG_MAPPING[member] is NolaConfig
    assert PEFT_TYPE_TO_TUNER_MAPPING[member] is ComputedLoraModel
    assert PEFT_TYPE_TO_PREFIX_MAPPING[member] == "lora_"
    assert {"seed", "num_basis", "r"} <= set(hotswap.CONFIG_KEYS_TO_CHECK[member])
    assert isinstance(peft.get_peft_config({"peft_type": NAME, "seed": 5}), NolaConfig)


def test_registering_again_changes_nothing():
    before = list(PeftType), dict(PEFT_TYPE_TO_CONFIG_MAPPING), dict(PEFT_TYPE_TO_TUNER_MAPPING)
    register_all()
    assert peft_type_member("nola") is PeftType(NAME)
    assert (list(PeftType), dict(PEFT_TYPE_TO_CONFIG_MAPPING), dict(PEFT_TYPE_TO_TUNER_MAPPING)) == before


def test_member_survives_json_pickle_and_deepcopy():
    member = PeftType(NAME)
    assert PeftType(json.loads(json.dumps(member))) is member
    assert pickle.loads(pickle.dumps(member)) is member
    assert copy.deepcopy(member) is member is copy.copy(member)


def test_configuration_survives_pickle_and_deepcopy():
    config = config_for(CASE, rank_pattern={"q_proj": 2}, seed=2**63)
    for copied in (pickle.loads(pickle.dumps(config)), copy.deepcopy(config)):
        assert copied == config and type(copied) is NolaConfig and copied.rank_pattern == {"q_proj": 2}


def test_model_survives_pickle_and_deepcopy():
    model, batch = adapted(CASE), CASE.batch()
    expected = logits(model, batch)
    for copied in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert torch.equal(logits(copied, batch), expected)
        with torch.no_grad():
            for parameter in copied.parameters():
                parameter.zero_()
    assert torch.equal(logits(model, batch), expected)  # nothing is shared with the copies


def test_spawned_worker():
    model, batch = adapted(CASE), CASE.batch()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        found = pool.submit(outputs_in_worker, model.peft_config["default"], model, batch).result()
    assert torch.equal(torch.tensor(found), logits(model, batch))


def test_looking_for_peft_without_importing_it_does_not_use_up_the_hook():
    """As transformers does when it is imported between nolakit and PEFT."""
    code = (
        "import importlib.util, sys, nolakit\n"
        "assert importlib.util.find_spec('peft') and 'peft' not in sys.modules\n"
        "import peft\n"
        "assert 'NOLAKIT_NOLA' in peft.PeftType.__members__\n"
        "assert not any(type(finder).__module__ == 'nolakit.hook' for finder in sys.meta_path)\n"
        "assert not type(peft.__spec__.loader).__module__.startswith('nolakit')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
