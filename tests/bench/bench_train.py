"""How much packing and the trained-rows head save: ``python tests/bench/bench_train.py``.

One model, the same examples, in turn: micro-batches as edgetune makes them (packed rows, logits
for trained rows only) against the usual way (one example per row, padded to the longest, logits
for every position). Five paired rounds after one that is not counted; the ratio of the medians is
the figure, since absolute speeds on a shared machine mean little.
"""

import argparse
import json
import statistics
import time

import numpy as np

from edgetune import device
from edgetune.config import AdapterConfig
from edgetune.data.packing import Batch, make_batches
from edgetune.data.template import Example
from edgetune.train import adapters, loss

device.prepare()

import mlx.core as mx  # noqa: E402
import mlx.nn as nn  # noqa: E402
from mlx_lm.models.llama import Model, ModelArgs  # noqa: E402

ROUNDS, STEPS, BATCH, LONGEST = 5, 2, 8, 512


def build(vocabulary: int) -> nn.Module:
    """A random Llama of 20 million parameters without its embedding."""
    model = Model(
        ModelArgs(
            model_type="llama",
            hidden_size=384,
            num_hidden_layers=6,
            intermediate_size=1024,
            num_attention_heads=6,
            rms_norm_eps=1e-5,
            vocab_size=vocabulary,
            tie_word_embeddings=True,
        )
    )
    adapters.create(model, AdapterConfig(rank=8), seed=0)
    return model


def make_examples(count: int, vocabulary: int) -> list[Example]:
    """Rows with the spread of lengths of instruction data: log-normal, a third of it answer."""
    random = np.random.default_rng(0)
    lengths = np.clip(random.lognormal(4.4, 0.7, count).astype(int), 12, LONGEST)
    return [
        Example(
            random.integers(3, vocabulary, length).astype(np.int32),
            (np.arange(length) >= length * 2 // 3).astype(np.float32),
            "",
            "bench",
            index,
        )
        for index, length in enumerate(lengths)
    ]


def padded(examples: list[Example]) -> Batch:
    """One example per row, padded to the longest; every position gets logits."""
    length = max(len(example.ids) for example in examples)
    tokens = np.zeros((len(examples), length), np.int32)
    trained = np.zeros((len(examples), length), bool)
    for row, example in enumerate(examples):
        tokens[row, : len(example.ids)] = example.ids
        trained[row, : len(example.ids)] = example.trained
    where = np.flatnonzero(trained).astype(np.int32)
    ones = np.ones(len(where), np.float32)
    return Batch(tokens, np.ones_like(tokens), where - 1, tokens.reshape(-1)[where], ones)


def full_logits_loss(model: nn.Module, batch: Batch) -> mx.array:
    """The usual way: logits for all positions, most of them multiplied by zero."""
    logits = model(mx.array(batch.tokens)).reshape(-1, model.args.vocab_size)
    weights = np.zeros(batch.tokens.size, np.float32)
    weights[batch.positions] = 1
    targets = np.zeros(batch.tokens.size, np.int32)
    targets[batch.positions] = batch.targets
    losses = nn.losses.cross_entropy(logits.astype(mx.float32), mx.array(targets))
    return (losses * mx.array(weights)).sum()


def measure(vocabulary: int) -> dict[str, float]:
    model = build(vocabulary)
    examples = make_examples(STEPS * BATCH, vocabulary)
    steps = [examples[i : i + BATCH] for i in range(0, len(examples), BATCH)]
    rows = loss.gathered_head(model)

    def ours(step: list[Example]) -> float:
        total = 0.0
        for batch in make_batches(step, 4096, LONGEST):
            arrays = loss.to_arrays(batch).as_tuple()
            value, grad = nn.value_and_grad(model, lambda m: loss.summed_loss(m, rows, arrays))(  # noqa: B023
                model
            )
            mx.eval(value, grad)
            total += value.item()
        return total

    def usual(step: list[Example]) -> float:
        batch = padded(step)
        value, grad = nn.value_and_grad(model, lambda m: full_logits_loss(m, batch))(model)
        mx.eval(value, grad)
        return float(value.item())

    seconds: dict[str, list[float]] = {"ours": [], "usual": []}
    peaks: dict[str, int] = {"ours": 0, "usual": 0}
    for index in range(ROUNDS + 1):
        for name, way in (("ours", ours), ("usual", usual)):
            mx.clear_cache()
            mx.reset_peak_memory()
            started = time.perf_counter()
            sums = [way(step) for step in steps]
            if index:
                seconds[name].append(time.perf_counter() - started)
            peaks[name] = max(peaks[name], mx.get_peak_memory())
            if name == "ours":
                expected = sums
            else:
                # Same objective, or the comparison would mean nothing.
                np.testing.assert_allclose(sums, expected, rtol=1e-4)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    trained = sum(int(example.trained.sum()) for example in examples)
    return {
        "vocabulary": vocabulary,
        "trained_tokens_per_second": round(trained / medians["ours"], 1),
        "padded_trained_tokens_per_second": round(trained / medians["usual"], 1),
        "speed_ratio": round(medians["usual"] / medians["ours"], 2),
        "peak_memory_ratio": round(peaks["ours"] / peaks["usual"], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    results = [measure(vocabulary) for vocabulary in (2048, 32064)]
    if parser.parse_args().json:
        print(json.dumps(results, indent=1))
        return
    print(f"{device.describe()}: packed rows and trained-row logits against padded rows")
    for item in results:
        print(
            f"vocabulary {item['vocabulary']}: {item['trained_tokens_per_second']} against "
            f"{item['padded_trained_tokens_per_second']} trained tokens/s, "
            f"{item['speed_ratio']} times as fast in {item['peak_memory_ratio']} of the memory"
        )


if __name__ == "__main__":
    main()
