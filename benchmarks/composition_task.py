"""The E2E task on a small Llama: restaurants' attributes into a sentence, judged by the loss of the completion."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

import nolakit

LONGEST = 112  # tokens of a row
ROWS = {"train": 1000, "validation": 150, "test": 300}
BATCH, STEPS, WARM_UP = 8, 64, 4
IGNORED = -100
MEASURED = 4  # batches that the energy of the gradients is measured on

Batch = dict[str, torch.Tensor]


@dataclass
class Trained:
    """An adapted model after its training, and what it was trained on."""

    model: torch.nn.Module
    numbers: int
    loss: float  # of the last ten steps


class Task:
    """Rows of at most 112 tokens, the first of each split; the model anew for each run."""

    def __init__(self, base: Path, data: Path) -> None:
        self.base = base
        self.name = f"{data.name} on {base.name}"
        self.tokenizer = AutoTokenizer.from_pretrained(base)
        self.rows = {split: self._read(data / f"{split}.jsonl", most) for split, most in ROWS.items()}

    def model(self) -> torch.nn.Module:
        return AutoModelForCausalLM.from_pretrained(self.base)

    def train(self, config: PeftConfig, lr: float, seed: int) -> Trained:
        """64 steps of AdamW, whose rate rises in 4 and then falls to zero in a line."""
        with torch.random.fork_rng(devices=()):
            torch.random.manual_seed(seed)  # LoRA's own start
            model = get_peft_model(self.model(), config)
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min((step + 1) / WARM_UP, (STEPS - step) / (STEPS - WARM_UP))
        )
        losses = []
        for batch in self._shuffled(seed):
            loss = model(**batch).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        return Trained(model.eval(), sum(map(torch.numel, parameters)), sum(losses[-10:]) / 10)

    def loss(self, model: torch.nn.Module, split: str) -> float:
        """Mean over the completions' tokens, in nats."""
        total = tokens = 0.0
        with torch.inference_mode():
            for batch in self._batches(sorted(self.rows[split], key=lambda row: len(row[0])), 40):
                number = int((batch["labels"][:, 1:] != IGNORED).sum())
                total, tokens = total + model(**batch).loss.item() * number, tokens + number
        return total / tokens

    def energies(self) -> dict[str, float]:
        """Of the loss's gradients, on the first rows of the training data."""
        rows = self.rows["train"][: MEASURED * BATCH]
        return nolakit.gradient_energy(self.model(), self._batches(rows, BATCH))

    def _shuffled(self, seed: int) -> Iterator[Batch]:
        rows = self.rows["train"]
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
        return self._batches([rows[place] for place in order[: STEPS * BATCH]], BATCH)

    def _read(self, path: Path, most: int) -> list[tuple[list[int], int]]:
        """Token ids of a row, and how many of them are the prompt."""
        rows, end = [], self.model().config.eos_token_id
        with path.open(encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                prompt = self.tokenizer(row["prompt"] + "\n")["input_ids"]
                whole = self.tokenizer(row["prompt"] + "\n" + row["completion"])["input_ids"]
                if len(whole) < LONGEST:
                    rows.append(([*whole, end], len(prompt)))
                if len(rows) == most:
                    break
        return rows

    def _batches(self, rows: list[tuple[list[int], int]], size: int) -> Iterator[Batch]:
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            width = max(len(ids) for ids, _ in some)
            ids = torch.zeros(len(some), width, dtype=torch.long)
            labels, mask = torch.full_like(ids, IGNORED), torch.zeros_like(ids)
            for place, (row, prompt) in enumerate(some):
                ids[place, : len(row)] = torch.tensor(row)
                labels[place, prompt : len(row)] = torch.tensor(row[prompt:])
                mask[place, : len(row)] = 1
            yield {"input_ids": ids, "attention_mask": mask, "labels": labels}
