"""transformers' Trainer and TRL's trainers, from files, with nothing of ours in between."""

import pytest
import torch
from datasets import Dataset
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerFast, Trainer, TrainingArguments

from small_models import BY_NAME
from tuner.adapting import assert_differ, coefficients, config_for, logits

CASE = BY_NAME["llama"]
OPTIONS = {
    "use_cpu": True, "report_to": [], "disable_tqdm": True, "learning_rate": 0.05, "seed": 0,
    "per_device_train_batch_size": 4, "save_strategy": "steps", "save_steps": 3, "logging_steps": 1,
}  # fmt: skip


class Rows(torch.utils.data.Dataset):
    """Four rows, again and again."""

    def __len__(self):
        return 16

    def __getitem__(self, index):
        return {name: value[index % 4] for name, value in CASE.batch(4).items()}


def trainer(folder, **changes):
    arguments = TrainingArguments(str(folder), **{**OPTIONS, "max_steps": 6, **changes})
    model = get_peft_model(CASE.make(), config_for(CASE, lora_dropout=0.1))
    return Trainer(model, arguments, train_dataset=Rows(), eval_dataset=Rows())


def test_resume_gives_what_an_unbroken_run_gives(tmp_path):
    unbroken = trainer(tmp_path / "unbroken")
    unbroken.train()
    losses = [entry["loss"] for entry in unbroken.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0]

    resumed = trainer(tmp_path / "resumed")
    resumed.train(resume_from_checkpoint=str(tmp_path / "unbroken" / "checkpoint-3"))
    assert resumed.state.global_step == 6
    expected = coefficients(unbroken.model)
    assert all(torch.equal(value, expected[name]) for name, value in coefficients(resumed.model).items())

    names = set(load_file(tmp_path / "unbroken" / "checkpoint-6" / "adapter_model.safetensors"))
    assert len(names) == 12 and all(name.endswith(".coefficients") for name in names)
    loaded = PeftModel.from_pretrained(CASE.make(), tmp_path / "unbroken" / "checkpoint-6").eval()
    batch = CASE.batch()
    assert torch.equal(logits(loaded, batch), logits(unbroken.model.eval(), batch))
    assert_differ(logits(loaded, batch), logits(CASE.make(), batch))


def test_load_best_model_at_end(tmp_path):
    """The learning rate explodes after the first half, so that the last checkpoint is the worst."""
    run = trainer(
        tmp_path, load_best_model_at_end=True, eval_strategy="steps", eval_steps=3, learning_rate=0.02,
        lr_scheduler_type="constant",
    )  # fmt: skip
    run.create_optimizer()
    run.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(run.optimizer, lambda step: 1 if step < 3 else 500)
    run.train()
    seen = {entry["step"]: entry["eval_loss"] for entry in run.state.log_history if "eval_loss" in entry}
    assert seen[3] < seen[6] and run.state.best_model_checkpoint.endswith("checkpoint-3")
    saved = load_file(tmp_path / "checkpoint-3" / "adapter_model.safetensors")
    for name, value in coefficients(run.model).items():
        assert torch.equal(value, saved[name.replace(".default.", ".")])


@pytest.fixture(scope="module")
def tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {
        word: index for index, word in enumerate(["<pad>", "<s>", "</s>", *"abcdefghijklmnopqrstuvwxyz"])
    }
    fast = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=fast, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


PAIRS = {"prompt": "a b c d", "chosen": " e f g h", "rejected": " i j k l"}


@pytest.mark.parametrize("kind", ["SFT", "DPO"])
def test_trl_takes_the_configuration(kind, tokenizer, tmp_path):
    import trl

    text = {"text": PAIRS["prompt"] + PAIRS["chosen"]}
    rows = Dataset.from_list([text if kind == "SFT" else PAIRS] * 8)
    arguments = getattr(trl, f"{kind}Config")(
        str(tmp_path), **{**OPTIONS, "save_strategy": "no", "max_steps": 5, "max_length": 16, "bf16": False}
    )
    run = getattr(trl, f"{kind}Trainer")(
        CASE.make(),
        args=arguments,
        train_dataset=rows,
        processing_class=tokenizer,
        peft_config=config_for(CASE),
    )
    trained = {name for name, value in run.model.named_parameters() if value.requires_grad}
    assert trained == set(coefficients(run.model))
    run.train()
    losses = [entry["loss"] for entry in run.state.log_history if "loss" in entry]
    assert losses[-1] < 0.98 * losses[0]
    run.save_model(str(tmp_path / "saved"))
    saved = load_file(tmp_path / "saved" / "adapter_model.safetensors")
    for name, value in coefficients(run.model).items():
        assert value.any() and torch.equal(saved[name.replace(".default.", ".")], value)
