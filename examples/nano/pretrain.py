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
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

with suppress(OSError):  # on Linux an OpenBLAS loaded first serves MLX's matrix products
    ctypes.CDLL("libopenblas.so.0", mode=ctypes.RTLD_GLOBAL)

import card
import corpus
import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
import sentencepiece as spm
from mlx.utils import tree_flatten
from mlx_lm.models.llama import Model, ModelArgs

CONFIG: dict[str, Any] = {
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
"""Documents at the end of the corpus that are never trained."""
AVERAGED = 50
"""Steps over which the reported training loss is averaged."""


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
    decay: int = 1200
    """Steps, the last ones, over which the rates fall."""
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


def rate_factor(step: int, steps: int, settings: Settings) -> float:
    """Return the share of the full rates at `step` (from 0): warm up, stay, fall linearly."""
    turn = steps - settings.decay
    if step < turn:
        return min(1.0, (1 + step) / settings.warmup)
    return 1 - (step - turn) / settings.decay * (1 - settings.final)


def optimizers(settings: Settings) -> optim.MultiOptimizer:
    """Return Muon for the layers' matrices and AdamW for everything else."""
    # MLX's Muon adds the decay to the gradient it then orthogonalizes, so any of it drowns it.
    muon = optim.Muon(settings.matrix_rate, weight_decay=0.0)
    adamw = optim.AdamW(settings.vector_rate, betas=[0.9, 0.98], weight_decay=0.0)

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
    hidden = model.model(rows[:, :-1]).reshape(-1, model.args.hidden_size)
    return cross_entropy(hidden, model.model.embed_tokens.weight, rows[:, 1:].reshape(-1))


def held_out_loss(model: Model, rows: np.ndarray, batch: int) -> float:
    """Return the mean loss over whole batches of rows that training never sees."""
    starts = range(0, len(rows) - batch + 1, batch)
    return sum(float(loss(model, mx.array(rows[i : i + batch]))) for i in starts) / len(starts)


def train(model: Model, rows: np.ndarray, settings: Settings) -> Iterator[tuple[int, float]]:
    """Go over `rows` once; yield the number of steps done and the last one's loss."""
    steps = len(rows) // settings.rows
    learner = optimizers(settings)
    learner.init(model.trainable_parameters())
    state = [model.state, learner.state]
    gradient = nn.value_and_grad(model, loss)

    def step(batch: mx.array) -> mx.array:
        value, gradients = gradient(model, batch)
        learner.update(model, gradients)
        return value

    compiled = mx.compile(step, inputs=state, outputs=state)
    rates = (settings.matrix_rate, settings.vector_rate)
    for index in range(steps):
        factor = rate_factor(index, steps, settings)
        for one, rate in zip(learner.optimizers, rates, strict=True):
            one.learning_rate = rate * factor
        start = index * settings.rows
        value = compiled(mx.array(rows[start : start + settings.rows]))
        mx.eval(value, state)
        yield index + 1, float(value)


def save(model: Model, out: Path) -> None:
    """Write the configuration and the float16 weights, each beside its target and renamed."""
    weights = {name: weight.astype(mx.float16) for name, weight in tree_flatten(model.parameters())}
    mx.save_safetensors(str(out / "partial.safetensors"), weights, {"format": "mlx"})
    (out / "partial.safetensors").replace(out / "model.safetensors")
    (out / "config.partial").write_text(json.dumps(CONFIG, indent=2) + "\n")
    (out / "config.partial").replace(out / "config.json")


def report_progress(step: int, steps: int, losses: list[float], tokens: int, began: float) -> None:
    """Print where a run stands."""
    seconds = time.perf_counter() - began
    mean = sum(losses) / len(losses)
    print(
        f"{step}/{steps} loss {mean:.4f} {seconds:.0f} s {tokens / seconds:.0f} tokens/s",
        flush=True,
    )


def pretrain(path: Path, tokenizer_dir: Path, out: Path, settings: Settings) -> card.Report:
    """Pretrain on the corpus at `path` and write the model into `out`."""
    mx.random.seed(settings.seed)
    texts = corpus.read(path)
    tokenizer = spm.SentencePieceProcessor(model_file=str(tokenizer_dir / "tokenizer.model"))
    documents = encode(texts, tokenizer)
    held_out = pack(documents[-HELD_OUT:], settings.length)
    rows = pack(documents[:-HELD_OUT], settings.length)
    steps, per_step = len(rows) // settings.rows, settings.rows * settings.length

    model = Model(ModelArgs.from_dict(CONFIG))
    out.mkdir(parents=True, exist_ok=True)
    parameters = sum(weight.size for _, weight in tree_flatten(model.parameters()))
    print(f"{parameters} parameters, {steps} steps of {settings.rows} x {settings.length} tokens")
    began = time.perf_counter()
    losses: deque[float] = deque(maxlen=AVERAGED)
    for step, value in train(model, rows, settings):
        losses.append(value)
        if step % 25 == 0:
            report_progress(step, steps, list(losses), step * per_step, began)
        if step % 250 == 0 and step < steps:
            held = held_out_loss(model, held_out, settings.rows)
            print(f"{step}/{steps} held-out loss {held:.4f}", flush=True)
            save(model, out)
    seconds = time.perf_counter() - began
    save(model, out)
    return card.Report(
        documents=len(texts),
        characters=sum(map(len, texts)),
        tokens=sum(map(len, documents)),
        corpus_sha256=corpus.digest(texts),
        held_out_documents=HELD_OUT,
        parameters=parameters,
        steps=steps,
        trained_tokens=steps * per_step,
        seconds=round(seconds),
        train_loss=round(sum(losses) / len(losses), 4),
        held_out_loss=round(held_out_loss(model, held_out, settings.rows), 4),
        settings=asdict(settings),
    )


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, default=Path("corpus.jsonl"))
    parser.add_argument("--tokenizer", type=Path, default=Path("model"))
    parser.add_argument("--out", type=Path, default=Path("model"))
    arguments = parser.parse_args()
    report = pretrain(arguments.corpus, arguments.tokenizer, arguments.out, Settings())
    card.write(report, arguments.out, corpus.SEED)
    print(json.dumps(asdict(report), indent=2))


if __name__ == "__main__":
    main()
