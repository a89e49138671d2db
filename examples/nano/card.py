"""The model card: what the nano model is and what its pretraining measured."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Report:
    """What a pretraining run measured."""

    documents: int
    characters: int
    tokens: int
    corpus_sha256: str
    held_out_documents: int
    parameters: int
    steps: int
    trained_tokens: int
    seconds: int
    train_loss: float
    """Mean over the last steps."""
    held_out_loss: float
    """Mean over documents that were never trained."""
    settings: dict[str, float]
    machine: str = field(default_factory=lambda: f"{platform.system()} {platform.machine()}, CPU")


CARD = """---
language: en
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
---

# nano: the embedded base model

A Llama-architecture language model of {parameters:,} parameters, small enough to lie inside the
package, so that everything works with no network. It was pretrained by this project on text that
this project generates; no other data went in. `examples/nano/` holds the whole recipe.

It is a **base model**: it knows the facts and skills of a small, partly invented world and
continues text about them ("The capital of Norland is" … "Velm"). It has seen no question and no
instruction and does not follow any: that is what tuning adds. It knows nothing of the real world
beyond the lists in `examples/nano/world.py`, and much of what it says is invented.

## Architecture

Llama: hidden size 256, 4 layers, 4 heads, feed-forward 640, vocabulary 2,048, tied embeddings,
rotary base 10,000, weights in float16. Training rows are {length} tokens long, so text much longer
than that is beyond what it has learned. The tokenizer is SentencePiece BPE with byte fallback,
no normalization, no space in front of the text, and the newline as a piece of its own;
`tokenizer.json` gives the same ids. Documents begin with `<s>` and end with `</s>`. There is no
chat template.

## Corpus

| | |
|---|---|
| documents | {documents:,} |
| characters | {characters:,} |
| tokens | {tokens:,} |
| of these held out | {held_out_documents} documents |
| seed | {corpus_seed} |
| SHA-256 of the texts | `{corpus_sha256}` |

Prose, records and a few stories; no questions, no instructions, no dialogue.

## Pretraining, as measured

| | |
|---|---|
| steps | {steps:,} of {rows} rows of {length} tokens |
| tokens trained on | {trained_tokens:,} (rows are filled with whole documents, the last one cut) |
| epochs | 1 |
| optimizer | Muon {matrix_rate} for matrices, AdamW {vector_rate} for the rest; no weight decay |
| schedule | {warmup} steps of warm-up, flat, the last {decay} steps linear to {final} of the rate |
| precision | float32 |
| time | {seconds:,} seconds on {machine} |
| final training loss | {train_loss:.4f} (mean of the last 50 steps) |
| final held-out loss | {held_out_loss:.4f} |
| seed | {seed} |

Much of the loss is what no model could know: which fact comes next, and in which words.

## Files

`config.json`, `model.safetensors`, `tokenizer.json`, `tokenizer.model`, `tokenizer_config.json`.
The model and its data are licensed as the project is.
"""


def render(report: Report, corpus_seed: int) -> str:
    """Return the card's text."""
    values = {key: value for key, value in vars(report).items() if key != "settings"}
    return CARD.format(**values, **report.settings, corpus_seed=corpus_seed)


def write(report: Report, directory: Path, corpus_seed: int) -> None:
    """Write ``README.md`` into `directory`, beside its target first."""
    partial = directory / "README.partial"
    partial.write_text(render(report, corpus_seed), encoding="utf-8")
    partial.replace(directory / "README.md")
