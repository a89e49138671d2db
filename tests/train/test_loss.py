"""The loss falls on exactly the trained tokens, however the examples are laid out."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgetune.config import AdapterConfig
from edgetune.data.packing import make_batches
from edgetune.data.template import Example
from edgetune.errors import RequestError
from edgetune.train import adapters, loss

import mlx.core as mx  # isort: skip
import mlx.nn as nn  # isort: skip
from mlx.utils import tree_flatten  # isort: skip

VOCAB = 50


def build(family: str, **extra: object) -> nn.Module:
    from mlx_lm.utils import _get_classes

    config = {
        "model_type": family,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "vocab_size": VOCAB,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "max_position_embeddings": 128,
        "tie_word_embeddings": False,
        **extra,
    }
    model_class, args_class = _get_classes(config)
    mx.random.seed(1)
    model = model_class(args_class.from_dict(config))
    mx.eval(model.parameters())
    return model


FAMILIES = {
    "llama": build("llama"),
    "llama, tied": build("llama", tie_word_embeddings=True),
    "qwen2": build("qwen2"),
    "qwen3": build("qwen3"),
}


def examples_from(
    shapes: list[tuple[int, int]], seed: int, sizes: tuple[float, ...] = (1.0,)
) -> list[Example]:
    """Examples of (prompt length, response length), whose answers' tokens weigh one of ``sizes``
    each."""
    random = np.random.default_rng(seed)
    examples = []
    for index, (prompt, response) in enumerate(shapes):
        ids = random.integers(3, VOCAB, prompt + response).astype(np.int32)
        weights = np.zeros(prompt + response, np.float32)
        weights[prompt:] = np.array(sizes)[random.integers(0, len(sizes), response)]
        examples.append(Example(ids, weights, task="", file="x", line=index))
    return examples


def plain_loss(model: nn.Module, example: Example) -> mx.array:
    """The reference: full logits of one example alone, no cache, no packing."""
    logits = model(mx.array(example.ids)[None])[0, :-1].astype(mx.float32)
    losses = nn.losses.cross_entropy(logits, mx.array(example.ids[1:]), reduction="none")
    return (losses * mx.array(example.weights[1:])).sum()


def packed_loss_and_gradients(
    model: nn.Module, examples: list[Example], micro_batch_tokens: int
) -> tuple[float, dict[str, mx.array]]:
    rows = loss.gathered_head(model)
    total, gradients = 0.0, None
    for batch in make_batches(examples, micro_batch_tokens, 64):
        arrays = loss.to_arrays(batch).as_tuple()
        value, part = nn.value_and_grad(model, lambda m, a=arrays: loss.summed_loss(m, rows, a))(
            model
        )
        flat = dict(tree_flatten(part))
        gradients = flat if gradients is None else {k: gradients[k] + flat[k] for k in flat}
        total += value.item()
    assert gradients is not None
    return total, gradients


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    shapes=st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=1, max_size=9),
    seed=st.integers(0, 1000),
    sizes=st.sampled_from([(1.0,), (1.0, 0.25, 0.0, 3.0)]),
)
def test_packed_examples_give_the_loss_and_gradients_of_separate_ones(
    family: str, shapes: list[tuple[int, int]], seed: int, sizes: tuple[float, ...]
) -> None:
    model = FAMILIES[family]
    model.unfreeze()
    examples = examples_from(shapes, seed, sizes)
    expected, expected_gradients = 0.0, None
    for example in examples:
        value, part = nn.value_and_grad(model, lambda m, e=example: plain_loss(m, e))(model)
        flat = dict(tree_flatten(part))
        expected_gradients = (
            flat
            if expected_gradients is None
            else {k: expected_gradients[k] + flat[k] for k in flat}
        )
        expected += value.item()
    for micro_batch_tokens in (64, 1024):
        value, gradients = packed_loss_and_gradients(model, examples, micro_batch_tokens)
        assert value == pytest.approx(expected, rel=1e-5, abs=1e-5)
        for name, gradient in gradients.items():
            reference = expected_gradients[name]
            scale = max(mx.abs(reference).max().item(), 1.0)
            assert mx.abs(gradient - reference).max().item() <= 1e-5 * scale, name


def test_the_mean_loss_is_weighted_and_counts_trained_tokens() -> None:
    model = FAMILIES["llama"]
    examples = examples_from([(3, 5), (2, 9), (4, 4)], 0, (1.0, 0.25))
    summed = sum(plain_loss(model, example).item() for example in examples)
    weight = sum(float(example.weights[1:].sum()) for example in examples)
    value, count = loss.mean_loss(model, make_batches(examples, 64, 64))
    assert value == pytest.approx(summed / weight, rel=1e-5)
    assert count == 5 + 9 + 4
    halved = [replace(example, weights=example.weights / 2) for example in examples]
    assert loss.mean_loss(model, make_batches(halved, 64, 64))[0] == pytest.approx(value, rel=1e-6)


def test_where_all_weights_are_one_the_loss_is_the_unweighted_one_to_the_bit() -> None:
    model = FAMILIES["llama"]
    rows = loss.gathered_head(model)
    [batch] = make_batches(examples_from([(3, 5), (2, 9)], 0), 64, 64)
    arrays = loss.to_arrays(batch)
    tokens, segments, positions, targets, weights = arrays.as_tuple()
    padded = np.arange(len(weights)) < batch.count
    ones = mx.array(padded.astype(np.float32))
    plain = loss.summed_loss(model, rows, (tokens, segments, positions, targets, ones))
    assert loss.summed_loss(model, rows, arrays.as_tuple()).item() == plain.item()
    assert batch.weight == batch.count


def test_the_gathered_head_gives_the_rows_of_the_full_logits() -> None:
    for model in FAMILIES.values():
        rows = loss.gathered_head(model)
        tokens = mx.array(np.arange(3, 15).reshape(2, 6))
        full = model(tokens).reshape(12, VOCAB)
        rows.value = mx.array([1, 5, 7])
        chosen = model(tokens)[0]
        rows.value = None
        assert mx.allclose(chosen, full[mx.array([1, 5, 7])], atol=1e-6)


def test_a_new_adapter_changes_nothing_and_learns_only_its_own_matrices() -> None:
    model = build("llama")
    tokens = mx.array([[3, 4, 5, 6]])
    before = model(tokens)
    names = adapters.create(model, AdapterConfig(rank=4), seed=3)
    assert mx.array_equal(model(tokens), before)
    assert {name.rpartition(".")[2] for name in names} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip
    assert {name.rpartition(".")[2] for name in adapters.weights(model)} == {"lora_a", "lora_b"}


def test_adapter_values_follow_from_the_seed_alone() -> None:
    def values(seed: int, targets: list[str]) -> dict[str, mx.array]:
        model = build("llama")
        adapters.create(model, AdapterConfig(rank=4, targets=targets), seed=seed)
        return adapters.weights(model)

    everything, same = values(1, ["all-linear"]), values(1, ["all-linear"])
    other, fewer = values(2, ["all-linear"]), values(1, ["q_proj"])
    name = "model.layers.0.self_attn.q_proj.lora_a"
    assert all(mx.array_equal(everything[key], same[key]) for key in everything)
    assert not mx.array_equal(everything[name], other[name])
    assert mx.array_equal(everything[name], fewer[name])


def test_mlx_lm_loads_the_saved_adapter(tiny_model: Path, tmp_path: Path) -> None:
    from mlx_lm.utils import load_adapters, load_model

    from edgetune.models import load

    loaded = load(str(tiny_model))
    config = AdapterConfig(rank=4)
    names = adapters.create(loaded.model, config, seed=0)
    mx.random.seed(0)
    values = {
        key: mx.random.normal(value.shape) * 0.1
        for key, value in adapters.weights(loaded.model).items()
    }
    adapters.set_weights(loaded.model, values, "test")
    adapters.save(tmp_path, values, config, names, len(loaded.model.layers), {})
    tokens = mx.array([[1, 300, 301, 302]])
    other = load_adapters(load_model(tiny_model)[0], str(tmp_path))
    assert mx.allclose(other(tokens), loaded.model(tokens), atol=1e-5)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["fine_tune_type"] == "lora"


def test_a_quantized_head_is_refused_and_not_taken_for_the_embedding() -> None:
    model = build("llama", hidden_size=64)
    nn.quantize(model, 32, 4, class_predicate=lambda name, module: name == "lm_head")
    with pytest.raises(RequestError, match="QuantizedLinear"):
        loss.gathered_head(model)
