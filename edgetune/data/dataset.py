"""What a run learns from: rows read, split, tokenized, and everything left out accounted for.

The split depends on nothing but a row's content and the seed: each distinct content is hashed
(BLAKE2b, keyed by the seed), and the smallest share of the hash range goes to validation. Equal
rows therefore never stand on both sides, and rows added later move none of the others.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgetune.config import DataConfig
from edgetune.data.formats import Conversation, Drop, load, no_usable_rows
from edgetune.data.template import ChatTemplate, Example, RowProblem, to_examples
from edgetune.data.tokenizer import Tokenizer
from edgetune.errors import RequestError

Row = tuple[Conversation, Example]
"""A conversation and the example made from it."""


@dataclass
class Dataset:
    """The examples of a run, in the order of their files."""

    train: list[Example]
    valid: list[Example]
    valid_conversations: list[Conversation]
    """Those of ``valid``, kept with the run: its exports are verified without the files."""
    summary: dict[str, Any]
    """What goes into data.json: sources, counts, drops with reasons, the split, notes."""


def prepare(config: DataConfig, seed: int, tokenizer: Tokenizer, template: ChatTemplate) -> Dataset:
    """Read, tokenize and split the rows that ``config`` names.

    A row without an answer, longer than ``max_length`` tokens, or that the template cannot
    render exactly is left out and listed under ``drops``. Raises RequestError for files that are
    broken and if no training row is left.
    """
    if not config.train:
        raise RequestError("No training data is named.", "Name a file: --data FILE.")
    rows, sources, drops = _read(config.train, "train", config, tokenizer, template)
    if config.valid:
        train = rows
        valid, more_sources, more_drops = _read(config.valid, "valid", config, tokenizer, template)
        sources, drops = sources + more_sources, drops + more_drops
    else:
        train, valid = _split(rows, config.valid_fraction, seed)
    notes = _notes(config, train, valid, sources)
    summary = {
        "sources": sources,
        "template": template.name,
        "max_length": config.max_length,
        "split": {"by": "files"}
        if config.valid
        else {"by": "hash of content", "valid_fraction": config.valid_fraction, "seed": seed},
        "train": count([example for _, example in train]),
        "valid": count([example for _, example in valid]),
        "drops": [asdict(drop) for drop in drops],
        "notes": notes,
    }
    return Dataset(
        train=[example for _, example in train],
        valid=[example for _, example in valid],
        valid_conversations=[conversation for conversation, _ in valid],
        summary=summary,
    )


def _read(
    files: Sequence[str],
    use: str,
    config: DataConfig,
    tokenizer: Tokenizer,
    template: ChatTemplate,
) -> tuple[list[Row], list[dict[str, Any]], list[Drop]]:
    loaded = load([Path(file) for file in files])
    rows, drops = encode(loaded.conversations, tokenizer, template, config.max_length)
    drops = loaded.drops + drops
    if not rows:
        raise no_usable_rows(drops)
    return rows, [asdict(source) | {"use": use} for source in loaded.sources], drops


def count(examples: Sequence[Example]) -> dict[str, int]:
    """Rows, tokens, trained tokens, and the longest row in tokens."""
    lengths = [len(example.ids) for example in examples]
    return {
        "rows": len(examples),
        "tokens": sum(lengths),
        "trained_tokens": sum(int(example.trained.sum()) for example in examples),
        "longest": max(lengths, default=0),
    }


def split(
    conversations: Sequence[Conversation], fraction: float, seed: int
) -> tuple[list[int], list[int]]:
    """Indices of the training and of the validation rows.

    Equal conversations go to the same side. With a ``fraction`` above 0 and two different
    conversations both sides get at least one.
    """
    places = [_place(conversation, seed) for conversation in conversations]
    distinct = sorted(set(places))
    if fraction <= 0 or len(distinct) < 2:
        return list(range(len(places))), []
    # Never nothing, never everything, however few rows there are.
    border = min(max(fraction, np.nextafter(distinct[0], 1)), distinct[-1])
    train = [i for i, place in enumerate(places) if place >= border]
    valid = [i for i, place in enumerate(places) if place < border]
    return train, valid


def _place(conversation: Conversation, seed: int) -> float:
    """Where a content lies in [0, 1), evenly spread."""
    # A float holds 53 bits exactly; more could be rounded up to 1.
    return (int.from_bytes(content_digest(conversation, seed)[:8], "little") >> 11) / 2**53


def content_digest(conversation: Conversation, seed: int = 0) -> bytes:
    """A digest (16 bytes) of what is said in a conversation, keyed by ``seed``."""
    digest = hashlib.blake2b(digest_size=16, key=str(seed).encode()[:64])
    for message in conversation.messages:
        for text in (message.role, message.content):
            data = text.encode()
            digest.update(len(data).to_bytes(8, "little") + data)
    return digest.digest()


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which epoch ``epoch`` (0, 1, …) visits ``n`` examples: a permutation that
    follows from (n, seed, epoch) alone."""
    # Sorting raw bits: unlike Generator.permutation, numpy promises that they never change.
    return np.argsort(np.random.PCG64([seed, epoch]).random_raw(n), kind="stable")


def encode(
    conversations: Sequence[Conversation],
    tokenizer: Tokenizer,
    template: ChatTemplate,
    max_length: int,
) -> tuple[list[Row], list[Drop]]:
    """Conversations with their examples, and those that cannot be trained on, with reasons."""
    rows: list[Row] = []
    drops: list[Drop] = []
    results = to_examples(conversations, tokenizer, template)
    for conversation, result in zip(conversations, results, strict=True):
        if isinstance(result, RowProblem):
            drops.append(Drop(result.file, result.line, result.reason))
        elif len(result.ids) > max_length:
            reason = f"{len(result.ids)} tokens are more than max_length = {max_length}"
            drops.append(Drop(conversation.file, conversation.line, reason))
        else:
            rows.append((conversation, result))
    return rows, drops


def _split(rows: list[Row], fraction: float, seed: int) -> tuple[list[Row], list[Row]]:
    train, valid = split([conversation for conversation, _ in rows], fraction, seed)
    return [rows[i] for i in train], [rows[i] for i in valid]


def _notes(
    config: DataConfig, train: list[Row], valid: list[Row], sources: list[dict[str, Any]]
) -> list[str]:
    """What a user should know before the first step, one sentence each."""
    notes = []
    for source in sources:
        if source["ignored_keys"]:
            keys = ", ".join(f"`{key}`" for key in source["ignored_keys"])
            notes.append(f"{source['file']}: {keys} of its rows are not used.")
    if not valid and config.valid_fraction > 0:
        notes.append("There is no validation: fewer than two different rows are left.")
    seen = {content_digest(conversation) for conversation, _ in train}
    if repeated := len(train) - len(seen):
        notes.append(f"Of the training rows {repeated} repeat another one exactly.")
    leaks = [c for c, _ in valid if content_digest(c) in seen]
    if leaks:
        notes.append(
            f"Of the validation rows {len(leaks)} stand among the training rows as well, the "
            f"first in {leaks[0].file}, line {leaks[0].line}: the validation loss looks better "
            "than it is."
        )
    return notes
