"""The factors of methods without the base's weights, against their papers' equations written out."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from nolakit import basis
from nolakit.errors import ConfigError, NolakitError
from nolakit.methods.attention import layer_and_projection
from nolakit.methods.base import Method
from nolakit.methods.lora_fa import LoraFa
from nolakit.methods.lora_mini import LoraMini
from nolakit.methods.lorta import Lorta
from nolakit.methods.melora import Melora
from nolakit.methods.prolora import Prolora
from nolakit.methods.site import ROLES, Factor, Site
from nolakit.methods.tied_lora import TiedLora
from nolakit.methods.unilora import UniLora


def linear(path: str, outputs: int, inputs: int, rank: int) -> Site:
    return Site(path, (rank, inputs), (outputs, rank))


def draw(*dims: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*dims, generator=torch.Generator().manual_seed(seed))


def numbers_of(method: Method) -> dict[Factor, torch.Tensor]:
    """Random numbers for every factor of a bound method."""
    every = [Factor(role, site) for site in method.sites for role in ROLES]
    return {factor: draw(method.count(factor), seed=place) for place, factor in enumerate(every)}


def made(method: Method, numbers: dict[Factor, torch.Tensor], factor: Factor) -> torch.Tensor:
    """One factor as a matrix."""
    owner = method.owner(factor)
    tied = None if owner is None else numbers[owner]
    (found,) = method.factors([numbers[factor]], [factor], tied)
    assert found.shape == method.dims(factor)
    return found.flatten(1)


def one_module(method: Method, site: Site) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """lora_A and lora_B of a module by itself, each behind the numbers that it was made of."""
    bound = method.bind([site])
    numbers = numbers_of(bound)
    a, b = (Factor(role, site) for role in ROLES)
    return numbers[a], made(bound, numbers, a), numbers[b], made(bound, numbers, b)


def test_lora_fa():
    one, other = linear("a", 6, 400, 3), linear("b", 6, 400, 3)
    _, lora_a, numbers, lora_b = one_module(LoraFa(), one)
    assert torch.equal(lora_b, numbers.view(6, 3))
    assert 0.99 / 20 < float(lora_a.abs().max()) < 1 / 20
    assert not torch.equal(lora_a, one_module(LoraFa(), other)[1])
    assert not torch.equal(lora_a, one_module(LoraFa(seed=1), one)[1])


def test_melora():
    a, lora_a, b, lora_b = one_module(Melora(blocks=4), linear("a", 8, 12, 2))
    assert torch.equal(lora_a, torch.block_diag(*a.view(2, 4, 3).unbind(1)))
    assert torch.equal(lora_b, torch.block_diag(*b.view(4, 2, 2).unbind()))


def test_melora_of_sizes_that_do_not_divide():
    a, lora_a, _, lora_b = one_module(Melora(blocks=4), linear("a", 6, 10, 1))
    assert (lora_a != 0).sum(1).tolist() == [3, 2, 3, 2]
    assert (lora_b != 0).sum(0).tolist() == [2, 1, 2, 1]
    assert torch.equal(lora_a.sum(0), a)


def test_melora_slices_the_channels_of_a_convolution():
    a, lora_a, _, _ = one_module(Melora(blocks=2), Site("a", (1, 4, 3, 2), (6, 1, 1, 1)))
    first, second = lora_a.view(2, 4, 3, 2)
    assert torch.equal(first[:2], a.view(4, 3, 2)[:2]) and torch.equal(second[2:], a.view(4, 3, 2)[2:])
    assert not first[2:].any() and not second[:2].any()


@pytest.mark.parametrize("rank, unshared, k, l", [(4, 1, 3, 2), (8, 1, 7, 7), (6, 0, 2, 4), (3, 2, 5, 1)])
def test_prolora(rank, unshared, k, l):  # noqa: E741 - the number of chunks
    method, (outputs, inputs), shared = Prolora(0, unshared, k, l), (17, 22), rank - unshared
    a, lora_a, b, lora_b = one_module(method, linear("a", outputs, inputs, rank))

    def rolled(chunk: torch.Tensor, chunks: int, size: int) -> torch.Tensor:  # (q, width) -> (q, size)
        shift = max(shared // chunks, 1)
        return torch.cat([chunk.roll(-c * shift, 0) for c in range(chunks)], dim=1)[:, :size]

    wide, high = -(-inputs // k), -(-outputs // l)
    a_0, a_u = a[: shared * wide].view(shared, wide), a[shared * wide :].view(unshared, inputs)
    b_0, b_u = b[: shared * high].view(high, shared), b[shared * high :].view(outputs, unshared)
    assert torch.equal(lora_a, torch.cat([rolled(a_0, k, inputs), a_u]))
    assert torch.equal(lora_b, torch.cat([rolled(b_0.T, l, outputs).T, b_u], dim=1))


def test_prolora_cuts_a_convolution_into_whole_channels():
    a, lora_a, _, _ = one_module(Prolora(0, 0, 2, 1), Site("a", (2, 3, 2, 2), (5, 2, 1, 1)))
    channels = lora_a.view(2, 3, 4)
    assert torch.equal(channels[:, :2], a.view(2, 2, 4))
    assert torch.equal(channels[:, 2], a.view(2, 2, 4)[:, 0].roll(-1, 0))


def test_lora_mini():
    site = linear("layers.0.q", 300, 500, 3)
    a, lora_a, b, lora_b = one_module(LoraMini(aux_a=5, aux_b=7), site)
    one_hot = {count: count**0.5 * torch.eye(count) for count in (5, 7)}
    streams = {role: basis.stream_number(role, site.path) for role in ROLES}
    aux_a = basis.combine(one_hot[5], seed=0, stream=streams["lora_A"], size=500) / 500**0.5
    aux_b = basis.combine(one_hot[7], seed=0, stream=streams["lora_B"], size=300).T * (3 / 7) ** 0.5
    torch.testing.assert_close(lora_a, a.view(3, 5) @ aux_a, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(lora_b, aux_b @ b.view(3, 7).T, rtol=1e-5, atol=1e-5)
    assert float(aux_b.var()) == pytest.approx(1 / 7, rel=0.05)


def test_tied_lora():
    method = TiedLora().bind([linear(f"layers.{i}.{name}", 6, 5, 2) for i, name in product((0, 1), "qv")])
    numbers = numbers_of(method)
    for site in method.sites:
        first = linear(f"layers.0.{site.path[-1]}", 6, 5, 2)
        a, b = (Factor(role, first) for role in ROLES)
        u, v = numbers[Factor("lora_A", site)][:2], numbers[Factor("lora_B", site)][:6]
        expected = v.diag() @ numbers[b][6:].view(6, 2) @ u.diag() @ numbers[a][2:].view(2, 5)
        lora_a, lora_b = (made(method, numbers, Factor(role, site)) for role in ROLES)
        torch.testing.assert_close(lora_b @ lora_a, expected)


@pytest.mark.parametrize("trained", [trained for trained in product((False, True), repeat=4) if any(trained)])
def test_tied_lora_starts_at_zero_and_leaves_it(trained):
    method = TiedLora(0, *trained).bind([linear(f"layers.{i}.q", 6, 5, 2) for i in (0, 1)])
    starts = {factor: method.start(factor) for factor in numbers_of(method)}
    numbers = {f: None if one is None else one.requires_grad_() for f, one in starts.items()}
    site = method.sites[1]
    lora_a, lora_b = (made(method, numbers, Factor(role, site)) for role in ROLES)
    update = lora_b @ lora_a
    assert not update.any()
    leaves = [one for one in numbers.values() if one.numel()]
    found = torch.autograd.grad((update * draw(6, 5)).sum(), leaves, allow_unused=True)
    assert any(one is not None and one.any() for one in found)


HEAD = 3
ATTENTION = {"q_proj": (12, 10), "k_proj": (6, 10), "v_proj": (6, 10), "o_proj": (10, 12)}


def test_lorta():
    sites = [
        linear(f"layers.{i}.self_attn.{name}", *shape, 2) for i in (0, 1) for name, shape in ATTENTION.items()
    ]
    method = Lorta(head_dim=HEAD).bind(sites)
    numbers = numbers_of(method)
    (shared,) = (one for one in numbers.values() if len(one))
    a, b, heads, layers, projections = shared.view(-1, 2).split([10, HEAD, 4, 2, 4])
    by_path = sorted(ATTENTION)  # k_proj, o_proj, q_proj, v_proj
    for site in sites:
        _, layer, _, name = site.path.split(".")
        expected = torch.zeros(site.outputs, site.inputs)
        count = (site.inputs if name == "o_proj" else site.outputs) // HEAD
        for h in range(count):
            c = layers[int(layer)] * projections[by_path.index(name)] * heads[h * 4 // count]
            block = torch.einsum("jt,t,et->ej", a, c, b)  # shape: (head, width)
            if name == "o_proj":
                expected[:, h * HEAD : (h + 1) * HEAD] = block.T
            else:
                expected[h * HEAD : (h + 1) * HEAD] = block
        lora_a, lora_b = (made(method, numbers, Factor(role, site)) for role in ROLES)
        torch.testing.assert_close(lora_b @ lora_a, expected)


def test_lorta_decomposes_other_modules_by_shape():
    shapes = {"up_proj": (20, 10), "gate_proj": (20, 10), "down_proj": (10, 20)}
    sites = [linear(f"layers.{i}.mlp.{name}", *shape, 2) for i in range(3) for name, shape in shapes.items()]
    method = Lorta(head_dim=HEAD).bind(sites)
    counts = {factor.path: len(one) for factor, one in numbers_of(method).items() if len(one)}
    assert counts == {
        "layers.0.mlp.down_proj": 2 * (20 + 10 + 1 + 3 + 1),
        "layers.0.mlp.gate_proj": 2 * (10 + 20 + 1 + 3 + 2),
    }


@pytest.mark.parametrize("path, expected", [
    ("layers.3.self_attn.q_proj", ("layers.3", "self_attn.q_proj")),
    ("decoder.block.0.layer.1.EncDecAttention.q", ("decoder.block.0.layer.1", "EncDecAttention.q")),
    ("classifier", ("", "classifier")),
    ("2", ("2", "")),
])  # fmt: skip
def test_a_path_is_a_layer_and_a_projection(path, expected):
    assert layer_and_projection(path) == expected


def test_uni_lora():
    sites = [linear("b", 5, 4, 2), linear("a", 3, 6, 2)]
    method = UniLora(theta_d_length=7).bind(sites)
    numbers = numbers_of(method)
    entries = torch.cat([
        made(method, numbers, Factor(role, site)).flatten() for site in reversed(sites) for role in ROLES
    ])  # fmt: skip
    indices = basis.balanced_indices(len(entries), 7, seed=0, stream=basis.stream_number("indices")).long()
    p = torch.zeros(len(entries), 7)
    p[torch.arange(len(entries)), indices] = 1
    p /= p.norm(dim=0)
    torch.testing.assert_close(p.T @ p, torch.eye(7))
    torch.testing.assert_close(entries, p @ numbers[Factor("lora_A", sites[1])])


@pytest.mark.parametrize("method, sites", [
    (Melora(blocks=5), [linear("a", 4, 8, 1)]),
    (LoraMini(aux_a=9), [linear("a", 80, 8, 1)]),
    (LoraMini(aux_b=9), [linear("a", 8, 80, 1)]),
    (Prolora(unshared=2), [linear("a", 8, 8, 2)]),
    (Prolora(chunks_a=9), [linear("a", 80, 8, 2)]),
    (Prolora(chunks_b=9), [linear("a", 8, 80, 2)]),
    (Lorta(head_dim=3), [linear("layers.0.q_proj", 8, 8, 2)]),
    (Lorta(head_dim=3), [linear("layers.0.o_proj", 9, 8, 2)]),
    (Lorta(head_dim=2), [linear("layers.0.q_proj", 8, 8, 2), linear("layers.0.k_proj", 6, 8, 2)]),
])  # fmt: skip
def test_a_module_that_cannot_be_is_refused_by_its_path(method, sites):
    with pytest.raises(ConfigError, match=repr(sites[-1].path)):
        method.bind(sites)


@pytest.mark.parametrize("make", [
    lambda: Melora(blocks=0), lambda: LoraMini(aux_a=0), lambda: LoraMini(aux_b=True), lambda: Lorta(head_dim=0),
    lambda: Prolora(unshared=-1), lambda: Prolora(chunks_a=0), lambda: Prolora(chunks_b=1.5), lambda: LoraFa(seed=-1),
    lambda: UniLora(theta_d_length=0), lambda: TiedLora(0, False, False, False, False), lambda: TiedLora(train_a=1),
])  # fmt: skip
def test_options_out_of_range_are_refused(make):
    with pytest.raises(NolakitError, match="expected"):
        make()


def test_indices_are_in_no_copy_or_pickle():
    import copy
    import pickle

    method = UniLora(theta_d_length=7).bind([linear("a", 3, 6, 2)])
    kept = method.indices(torch.device("cpu"))
    assert method.indices(torch.device("cpu")) is kept
    for other in (copy.deepcopy(method), pickle.loads(pickle.dumps(method))):
        assert other == method and not other._indices
        assert torch.equal(other.indices(torch.device("cpu")), kept)
