"""Pretrain the nano model on the corpus and write it in Hugging Face layout.

A Llama of 3.5M parameters. Rows of one length start with a document and are filled with the
documents that follow it, the last one cut; every token is trained. Matrices learn with Muon,
embeddings and norms with AdamW, both at a flat rate that falls linearly to almost nothing in the
last part of the run. Training is float32; the weights are written as float16.

    python pretrain.py --corpus corpus.jsonl --tokenizer model --out model
"""

from __future__ import annotations

import argparse
import ctypes
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

with suppress(OSError):  # on Linux an OpenBLAS loaded first serves MLX's matrix products
    ctypes.CDLL("libopenblas.so.0", mode=ctypes.RTLD_GLOBAL)

import corpus
import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
import sentencepiece as spm
from mlx.utils import tree_flatten
from mlx_lm.models.llama import Model, ModelArgs

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 2048,
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "intermediate_size": 640,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "max_position_embeddings": 512,
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "torch_dtype": "float16",
}
HELD_OUT = 600


@dataclass(frozen=True)
class Settings:
    """What a run depends on besides the corpus."""

    length: int = 128
    """Tokens per row."""
    rows: int = 24
    """Rows per step."""
    seed: int = 11
    matrix_rate: float = 0.02
    """Muon's learning rate."""
    vector_rate: float = 3e-3
    """AdamW's learning rate."""
    warmup: int = 40
    """Steps from almost nothing to the full rate."""
    flat: float = 0.45
    """Share of the steps before the rates begin to fall."""
    final: float = 0.02
    """Last rate as a share of the full one."""


def pack(documents: list[list[int]], length: int) -> np.ndarray:
    """Return rows of `length` + 1 ids, each starting with a document; the last of a row is cut."""
    rows, row = [], []
    for ids in documents:
        row += ids
        if len(row) > length:
            rows.append(row[: length + 1])
            row = []
    return np.array(rows, dtype=np.int32)


def encode(texts: list[str], tokenizer: spm.SentencePieceProcessor) -> list[list[int]]:
    """Return the ids of each text between its begin and end symbols."""
    begin, end = tokenizer.bos_id(), tokenizer.eos_id()
    return [[begin, *ids, end] for ids in tokenizer.encode(texts)]


def schedule(rate: float, steps: int, settings: Settings) -> Callable[[mx.array], mx.array]:
    """Return a rate that warms up, stays, and falls linearly."""
    turn = max(settings.warmup + 1, int(steps * settings.flat))
    return optim.join_schedules(
        [
            optim.linear_schedule(rate / settings.warmup, rate, settings.warmup),
            optim.linear_schedule(rate, rate, max(1, turn - settings.warmup)),
            optim.linear_schedule(rate, rate * settings.final, max(1, steps - turn)),
        ],
        [settings.warmup, turn],
    )


def optimizer(steps: int, settings: Settings) -> optim.MultiOptimizer:
    """Return Muon for the layers' matrices and AdamW for everything else."""
    muon = optim.Muon(schedule(settings.matrix_rate, steps, settings), weight_decay=0.0)
    adamw = optim.AdamW(
        schedule(settings.vector_rate, steps, settings), betas=[0.9, 0.98], weight_decay=0.0
    )

    def is_matrix(path: str, weight: mx.array) -> bool:
        return weight.ndim == 2 and "embed" not in path

    return optim.MultiOptimizer([muon, adamw], [is_matrix])


def cross_entropy(hidden: mx.array, embedding: mx.array, targets: mx.array) -> mx.array:
    """Return the mean loss of (n, d) `hidden` against (n,) `targets` under a tied head.

    Half of a small model's time goes into exponentials over the vocabulary. Here they are taken
    once: the probabilities of the forward pass are kept and are the gradient of the backward one.
    """

    @mx.custom_function
    def mean_and_probabilities(hidden: mx.array, embedding: mx.array) -> tuple[mx.array, mx.array]:
        probabilities = mx.softmax(hidden @ embedding.T, axis=-1)
        found = mx.take_along_axis(probabilities, targets[:, None], axis=-1)
        return -mx.log(found + 1e-20).mean(), probabilities

    @mean_and_probabilities.vjp
    def backward(primals: tuple, cotangents: tuple, outputs: tuple) -> tuple[mx.array, mx.array]:
        (hidden, embedding), probabilities = primals, outputs[1]
        scale = cotangents[0] / targets.size
        to_hidden = (probabilities @ embedding - embedding[targets]) * scale
        to_embedding = (probabilities.T @ hidden).at[targets].add(-hidden) * scale
        return to_hidden, to_embedding

    return mean_and_probabilities(hidden, embedding)[0]


def loss(model: Model, rows: mx.array) -> mx.array:
    """Return the mean cross-entropy of each row's next tokens."""
    hidden = model.model(rows[:, :-1]).reshape(-1, CONFIG["hidden_size"])
    return cross_entropy(hidden, model.model.embed_tokens.weight, rows[:, 1:].reshape(-1))


def held_out_loss(model: Model, rows: np.ndarray, batch: int) -> float:
    """Return the mean loss over whole batches of rows that training never sees."""
    starts = range(0, len(rows) - batch + 1, batch)
    return sum(loss(model, mx.array(rows[i : i + batch])).item() for i in starts) / len(starts)


def train(model: Model, rows: np.ndarray, settings: Settings) -> Iterator[tuple[int, float]]:
    """Go over `rows` once; yield the step and its loss."""
    steps = len(rows) // settings.rows
    learner = optimizer(steps, settings)
    state = [model.state, learner.state]
    gradient = nn.value_and_grad(model, loss)

    def step(batch: mx.array) -> mx.array:
        value, gradients = gradient(model, batch)
        learner.update(model, gradients)
        return value

    learner.init(model.trainable_parameters())
    compiled = mx.compile(step, inputs=state, outputs=state)
    for index in range(steps):
        start = index * settings.rows
        value = compiled(mx.array(rows[start : start + settings.rows]))
        mx.eval(value, state)
        yield index + 1, value.item()


def save(model: Model, out: Path) -> None:
    """Write the configuration and the float16 weights, each beside its target and renamed."""
    weights = {name: weight.astype(mx.float16) for name, weight in tree_flatten(model.parameters())}
    mx.save_safetensors(str(out / "partial.safetensors"), weights, {"format": "mlx"})
    (out / "partial.safetensors").replace(out / "model.safetensors")
    (out / "config.partial").write_text(json.dumps(CONFIG, indent=2) + "\n")
    (out / "config.partial").replace(out / "config.json")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, default=Path("corpus.jsonl"))
    parser.add_argument("--tokenizer", type=Path, default=Path("model"))
    parser.add_argument("--out", type=Path, default=Path("model"))
    parser.add_argument("--rows", type=int, default=Settings.rows)
    parser.add_argument("--length", type=int, default=Settings.length)
    parser.add_argument("--limit", type=int, help="train on this many rows only, to try things")
    arguments = parser.parse_args()
    settings = Settings(rows=arguments.rows, length=arguments.length)
    mx.random.seed(settings.seed)

    texts = corpus.read(arguments.corpus)
    tokenizer = spm.SentencePieceProcessor(model_file=str(arguments.tokenizer / "tokenizer.model"))
    documents = encode(texts, tokenizer)
    held_out = pack(documents[-HELD_OUT:], settings.length)
    rows = pack(documents[:-HELD_OUT], settings.length)[: arguments.limit]
    steps = len(rows) // settings.rows

    model = Model(ModelArgs.from_dict(CONFIG))
    arguments.out.mkdir(parents=True, exist_ok=True)
    parameters = sum(weight.size for _, weight in tree_flatten(model.parameters()))
    print(f"{parameters} parameters, {steps} steps of {settings.rows} x {settings.length} tokens")
    started, recent = time.perf_counter(), []
    for step, value in train(model, rows, settings):
        recent = [*recent[-49:], value]
        if step % 25 == 0 or step == steps:
            seconds = time.perf_counter() - started
            rate = step * settings.rows * settings.length / seconds
            mean = sum(recent) / len(recent)
            print(f"{step}/{steps} loss {mean:.4f} {seconds:.0f} s {rate:.0f} tokens/s", flush=True)
        if step % 250 == 0 or step == steps:
            held = held_out_loss(model, held_out, settings.rows)
            print(f"{step}/{steps} held-out loss {held:.4f}", flush=True)
            save(model, arguments.out)
    report = {
        "corpus_sha256": corpus.digest(texts),
        "corpus_documents": len(texts),
        "corpus_characters": sum(map(len, texts)),
        "corpus_tokens": sum(map(len, documents)),
        "held_out_documents": HELD_OUT,
        "parameters": parameters,
        "steps": steps,
        "trained_tokens": steps * settings.rows * settings.length,
        "seconds": round(time.perf_counter() - started),
        "final_train_loss": round(sum(recent) / len(recent), 4),
        "final_held_out_loss": round(held, 4),
        "settings": asdict(settings),
    }
    (arguments.out / "pretraining.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
