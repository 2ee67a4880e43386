"""torch.compile: one graph, and the outputs and gradients of eager."""

import pytest
import torch
from peft import PeftModel

from small_models import BY_NAME
from tuner.adapting import adapted, assert_close, coefficients, gradients, logits


@pytest.mark.parametrize("name", ["gpt2", "bert", "plain"])
def test_fullgraph_outputs_and_gradients(name):
    case = BY_NAME[name]
    batch = {name: value for name, value in case.batch().items() if name != "labels"}
    eager = adapted(case)
    expected = eager(**batch).logits
    expected.square().sum().backward()

    torch.compiler.reset()
    model = adapted(case)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    found = compiled(**batch).logits
    found.square().sum().backward()
    assert_close(found, expected)
    assert_close(gradients(model), gradients(eager))


def test_graph_is_not_traced_again_when_coefficients_change():
    case, graphs = BY_NAME["plain"], []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    model, batch = adapted(case), case.batch()
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    compiled(**batch)
    for values in coefficients(model).values():
        values.mul_(0.5)
    assert_close(logits(compiled, batch), logits(model, batch))
    with torch.no_grad():
        compiled(**batch)
    assert len(graphs) == 2  # with and without gradients


def test_adapter_of_a_compiled_model_is_the_same(tmp_path):
    """`_orig_mod` is in its module paths when adapters are added to a model that is compiled already."""
    case = BY_NAME["llama"]
    plain, batch = adapted(case), case.batch()
    plain.save_pretrained(tmp_path)
    base = case.make()
    base.model.layers[0] = torch.compile(base.model.layers[0], backend="eager")
    model = PeftModel.from_pretrained(base, tmp_path).eval()
    torch.compiler.reset()
    assert_close(logits(model, batch), logits(plain, batch))
