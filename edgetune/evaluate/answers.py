"""Greedy answers to instructions, from MLX in batches and from a GGUF one by one, graded."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgetune import device
from edgetune.data.conversation import Conversation, Message
from edgetune.data.template import prompt_ids, stop_ids
from edgetune.data.templates.rendering import ChatTemplate
from edgetune.data.tokenizer import Tokenizer
from edgetune.errors import RequestError
from edgetune.evaluate import Graded, Progress, Score
from edgetune.models import Loaded

if TYPE_CHECKING:
    from edgetune.serve.engine import Engine

device.prepare()

from mlx_lm.generate import BatchGenerator  # noqa: E402

_BATCH = 64


def question_of(conversation: Conversation) -> tuple[list[Message], str]:
    """The messages up to the last answer, and that answer. Raises RequestError without one."""
    messages = list(conversation.messages)
    if not messages or messages[-1].role != "assistant":
        raise RequestError(
            f"{conversation.file}, line {conversation.line}: this conversation does not end with "
            "an answer, so there is nothing to compare with."
        )
    if messages[-1].tool_calls:
        raise RequestError(
            f"{conversation.file}, line {conversation.line}: this conversation ends with a call "
            "of a tool, which is not graded."
        )
    return messages[:-1], messages[-1].content


def answer_with_model(
    loaded: Loaded,
    template: ChatTemplate,
    conversations: Sequence[Conversation],
    progress: Progress | None = None,
) -> Score:
    """Grade the model's greedy answers to the last turn of each conversation."""
    questions = [question_of(item) for item in conversations]
    prompts = [
        prompt_ids(messages, loaded.tokenizer, template, conversation.tools)
        for conversation, (messages, _) in zip(conversations, questions, strict=True)
    ]
    limit = answer_limit(loaded.tokenizer, [answer for _, answer in questions])
    stops = stop_ids(loaded.tokenizer, template)
    outputs = continue_greedily(loaded, prompts, limit, stops, progress)
    return Score(
        [
            _grade(conversation, messages, expected, text, ended)
            for conversation, (messages, expected), (text, ended) in zip(
                conversations, questions, outputs, strict=True
            )
        ]
    )


def answer_with_engine(
    engine: Engine, conversations: Sequence[Conversation], progress: Progress | None = None
) -> Score:
    """Grade a GGUF's greedy answers to the last turn of each conversation."""
    from edgetune.serve.engine import Sampling

    graded = []
    longest = max((len(question_of(item)[1].encode()) for item in conversations), default=0)
    # A token is at least a byte: an answer as long as the expected one always fits.
    sampling = Sampling(temperature=0.0, max_tokens=longest + 16)
    for done, conversation in enumerate(conversations, start=1):
        messages, expected = question_of(conversation)
        answer = engine.complete(messages, sampling)
        ended = answer.finish_reason == "stop"
        graded.append(_grade(conversation, messages, expected, answer.text, ended))
        if progress is not None:
            progress(done, len(conversations))
    return Score(graded)


def _grade(
    conversation: Conversation, messages: list[Message], expected: str, answer: str, ended: bool
) -> Graded:
    correct = ended and answer.strip() == expected.strip()
    return Graded(messages[-1].content, expected, answer.strip(), correct, conversation.task)


def answer_limit(tokenizer: Tokenizer, answers: Sequence[str]) -> int:
    """Tokens to allow an answer: enough for the longest expected one and then some, so that a
    model that never stops is caught without waiting for it."""
    return max((len(tokenizer.encode(answer)) for answer in answers), default=0) + 16


def continue_greedily(
    loaded: Loaded,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    stops: Collection[int],
    progress: Progress | None = None,
) -> list[tuple[str, bool]]:
    """For each prompt the text that the model writes, special tokens left out, and whether it
    ended it by itself, with one of the tokens ``stops``."""
    # Prompts of like length beside each other need little padding.
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    generator = BatchGenerator(
        loaded.model,
        max_tokens=max_tokens,
        stop_tokens=[[token] for token in sorted(stops)],
        completion_batch_size=_BATCH,
        prefill_batch_size=_BATCH,
    )
    tokens: dict[int, list[int]] = {}
    ended: dict[int, bool] = {}
    try:
        uids = generator.insert([list(prompts[index]) for index in order])
        tokens = {uid: [] for uid in uids}
        while responses := generator.next_generated():
            for response in responses:
                if response.finish_reason != "stop":
                    tokens[response.uid].append(response.token)
                if response.finish_reason is not None:
                    ended[response.uid] = response.finish_reason == "stop"
                    if progress is not None:
                        progress(len(ended), len(prompts))
    finally:
        generator.close()
    results: list[tuple[str, bool]] = [("", False)] * len(prompts)
    for index, uid in zip(order, uids, strict=True):
        results[index] = (loaded.tokenizer.decode(tokens[uid]), ended[uid])
    return results


def cloze(loaded: Loaded, file: Path, progress: Progress | None = None) -> Score:
    """What a base model knows without any instruction: rows ``{"text", "answer", "task"}`` in a
    JSONL file; correct if the greedy continuation of the text is the answer, ended by something
    that is no letter or digit."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    tokenizer = loaded.tokenizer
    prompts = [tokenizer.encode(tokenizer.bos + row["text"]) for row in rows]
    limit = max(len(tokenizer.encode(" " + row["answer"])) for row in rows) + 2
    graded = []
    written_by_model = continue_greedily(loaded, prompts, limit, tokenizer.eos_ids, progress)
    for row, (text, _) in zip(rows, written_by_model, strict=True):
        written, expected = text.lstrip(), row["answer"].strip()
        after = written[len(expected) : len(expected) + 1]
        correct = written.startswith(expected) and not after.isalnum()
        graded.append(Graded(row["text"], expected, written, correct, row.get("task", "")))
    return Score(graded)
