"""What data files hold and what is wrong with them, before anything is trained."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from edgetune.data.dataset import content_digest, count, encode
from edgetune.data.formats import Conversation, load
from edgetune.data.template import ChatTemplate
from edgetune.data.tokenizer import Tokenizer

_QUANTILES = (0.5, 0.9, 0.99, 1.0)


def inspect(paths: Sequence[Path]) -> tuple[dict[str, Any], list[Conversation]]:
    """What can be said without a model, ready for JSON, and the usable conversations.

    Lengths are in characters. Raises RequestError for files that are broken or hold no usable row.
    """
    loaded = load(paths)
    conversations = loaded.conversations
    tasks = Counter(conversation.task for conversation in conversations)
    first_at: dict[bytes, Conversation] = {}
    repeats = []
    for conversation in conversations:
        first = first_at.setdefault(content_digest(conversation), conversation)
        if first is not conversation:
            repeats.append(
                {
                    "file": conversation.file,
                    "line": conversation.line,
                    "same_as": {"file": first.file, "line": first.line},
                }
            )
    report: dict[str, Any] = {
        "sources": [asdict(source) for source in loaded.sources],
        "rows": sum(source.rows for source in loaded.sources),
        "usable": len(conversations),
        "drops": [asdict(drop) for drop in loaded.drops],
        "repeats": repeats,
        "tasks": dict(tasks.most_common()) if set(tasks) != {""} else {},
        "answers_per_row": _quantiles([_by_role(c, "assistant") for c in conversations]),
        "prompt_characters": _quantiles([_characters(c, False) for c in conversations]),
        "answer_characters": _quantiles([_characters(c, True) for c in conversations]),
    }
    return report, conversations


def inspect_tokens(
    conversations: Sequence[Conversation],
    tokenizer: Tokenizer,
    template: ChatTemplate,
    max_length: int,
) -> dict[str, Any]:
    """What the conversations are for a model, ready for JSON: token counts, lengths, and the
    rows that would be left out."""
    rows, drops = encode(conversations, tokenizer, template, max_length)
    examples = [example for _, example in rows]
    return {
        "template": template.name,
        "max_length": max_length,
        **count(examples),
        "row_tokens": _quantiles([len(example.ids) for example in examples]),
        "row_trained_tokens": _quantiles([int(example.trained.sum()) for example in examples]),
        "drops": [asdict(drop) for drop in drops],
    }


def _by_role(conversation: Conversation, role: str) -> int:
    return sum(message.role == role for message in conversation.messages)


def _characters(conversation: Conversation, of_answers: bool) -> int:
    return sum(
        len(message.content)
        for message in conversation.messages
        if (message.role == "assistant") == of_answers
    )


def _quantiles(values: Sequence[int]) -> dict[str, int]:
    if not values:
        return {}
    found = np.quantile(values, _QUANTILES, method="inverted_cdf")
    return {
        "median" if quantile == 0.5 else "max" if quantile == 1 else f"p{100 * quantile:.0f}": int(
            value
        )
        for quantile, value in zip(_QUANTILES, found, strict=True)
    }
