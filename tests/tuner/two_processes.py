"""Run as a program by `test_two_processes.py`: train in two processes, each on its half of the data.

torchrun --nproc-per-node 2 two_processes.py FUNCTION FOLDER
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from peft import get_peft_model

from small_models import BY_NAME
from tuner.adapting import coefficients, config_for, randomize, train

STEPS = 4
CASE = BY_NAME["llama"]


def fresh_model():
    model = get_peft_model(CASE.make(), config_for(CASE))
    randomize(model)
    return model


def part(rank: int, ranks: int) -> dict[str, torch.Tensor]:
    """Every rank's own rows. All rows together are the whole batch of one process."""
    return {name: value[rank::ranks] for name, value in CASE.batch(8).items()}


def whole() -> dict[str, torch.Tensor]:
    """Coefficients after training in one process on all the data."""
    model = fresh_model()
    train(model, part(0, 1), steps=STEPS)
    return coefficients(model)


def data_parallel(folder: Path) -> None:
    """DDP, gradients averaged over gloo."""
    dist.init_process_group("gloo")
    model = fresh_model()
    wrapped = torch.nn.parallel.DistributedDataParallel(model)
    train(wrapped, part(dist.get_rank(), 2), steps=STEPS)
    torch.save(coefficients(model), folder / f"data_parallel-{dist.get_rank()}.pt")


def fully_sharded(folder: Path) -> None:
    """FSDP2 on a gloo mesh: base weights and coefficients sharded."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor

    dist.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (2,))
    model = fresh_model()
    for layer in model.base_model.model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    assert all(isinstance(parameter, DTensor) for parameter in model.parameters())
    train(model, part(dist.get_rank(), 2), steps=STEPS)
    gathered = {name: value.full_tensor() for name, value in coefficients(model).items()}
    torch.save(gathered, folder / f"fully_sharded-{dist.get_rank()}.pt")


def accelerated(folder: Path) -> None:
    """accelerate's own loop; started by debug_launcher."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    assert accelerator.num_processes == 2
    model = fresh_model()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.1)
    wrapped, optimizer = accelerator.prepare(model, optimizer)
    batch = part(accelerator.process_index, 2)
    for _ in range(STEPS):
        loss = wrapped(**batch).loss
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()
    torch.save(coefficients(model), folder / f"accelerated-{accelerator.process_index}.pt")


if __name__ == "__main__":
    if sys.argv[1] == "accelerated":
        from accelerate import debug_launcher

        debug_launcher(accelerated, (Path(sys.argv[2]),), num_processes=2)
    else:
        globals()[sys.argv[1]](Path(sys.argv[2]))
        os._exit(0)  # gloo's threads and the interpreter that ends may wait for each other
