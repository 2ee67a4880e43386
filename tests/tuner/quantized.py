"""One small Llama on quantised bases: 8 and 4 bits of bitsandbytes, int8 of torchao."""

from dataclasses import replace

import bitsandbytes as bnb
import torch
from torch import nn
from transformers import LlamaForCausalLM

from small_models import BY_NAME, llama_config

CASE = replace(  # bitsandbytes packs 64 inputs at a time
    BY_NAME["llama"],
    build=lambda: LlamaForCausalLM(llama_config(hidden_size=64, intermediate_size=128)),
)


def bitsandbytes_8():
    def convert(linear):
        new = bnb.nn.Linear8bitLt(linear.in_features, linear.out_features, bias=False, has_fp16_weights=False)
        new.load_state_dict(linear.state_dict())
        return new

    return quantized(convert, "is_loaded_in_8bit")


def bitsandbytes_4():
    def convert(linear):
        new = bnb.nn.Linear4bit(
            linear.in_features, linear.out_features, bias=False, compute_dtype=torch.float32, quant_type="nf4"
        )
        new.load_state_dict(linear.state_dict())
        return new

    return quantized(convert, "is_loaded_in_4bit")


def quantized(convert, mark):
    model = CASE.make()
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and name != "lm_head":
            model.set_submodule(name, convert(module))
    setattr(model, mark, True)
    return model.to("cpu")


def torchao_8():
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    model = CASE.make()
    config = Int8WeightOnlyConfig(version=2)
    quantize_(
        model, config, filter_fn=lambda module, name: isinstance(module, nn.Linear) and name != "lm_head"
    )

    class Quantizer:  # where PEFT looks for how to quantise a merged weight again
        class quantization_config:
            @staticmethod
            def get_apply_tensor_subclass():
                return config

    model.hf_quantizer = Quantizer
    return model


BASES = {"bitsandbytes 8": bitsandbytes_8, "bitsandbytes 4": bitsandbytes_4, "torchao 8": torchao_8}
NOISE = {"bitsandbytes 8": 0.03, "bitsandbytes 4": 0.15, "torchao 8": 0.03}  # relative, of one layer


def relative(found, expected):
    return ((found - expected).norm() / expected.norm()).item()
