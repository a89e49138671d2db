"""The rows of a data file as the model will see them."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from edgetune.errors import EdgetuneError

if TYPE_CHECKING:
    from edgetune.data.formats import Conversation, Loaded
    from edgetune.data.preview import Piece
    from edgetune.data.template import ChatTemplate
    from edgetune.data.tokenizer import Tokenizer

PAGE = 20
"""Rows shown at a time."""


@dataclass(frozen=True)
class Row:
    """One row of the file."""

    line: int
    task: str
    tokens: int
    trained: int
    pieces: "list[Piece]"
    problem: str
    """Why it cannot be trained on; empty if it can."""


@dataclass(frozen=True)
class Preview:
    """A page of rows of a data file."""

    file: Path
    model: str
    format: str
    template: str
    total: int
    """Rows in the file."""
    left_out: list[str]
    """Rows without an answer: line and reason."""
    start: int
    """Index of the first row on this page, from 0."""
    rows: list[Row]


def look(file: Path, model: str, start: int = 0) -> Preview:
    """The page of ``file`` that begins with row ``start``, tokenized for ``model``.

    Raises EdgetuneError if the file, the model or its tokenizer cannot be read.
    """
    if not file.is_file():
        raise EdgetuneError(f"There is no file {file}.")
    tokenizer, template = _tokenizer(model)
    loaded = _load(file, file.stat().st_mtime_ns)
    conversations = loaded.conversations
    start = max(0, min(start, (len(conversations) - 1) // PAGE * PAGE))
    rows = [_row(item, tokenizer, template) for item in conversations[start : start + PAGE]]
    return Preview(
        file=file,
        model=model,
        format=", ".join(source.format for source in loaded.sources),
        template=template.name,
        total=len(conversations),
        left_out=[f"line {drop.line}: {drop.reason}" for drop in loaded.drops],
        start=start,
        rows=rows,
    )


# The data libraries are imported when first needed: they take half the start-up time.


@lru_cache(maxsize=2)
def _tokenizer(model: str) -> "tuple[Tokenizer, ChatTemplate]":
    from edgetune.data.template import choose_template
    from edgetune.data.tokenizer import Tokenizer

    tokenizer = Tokenizer.from_directory(_directory(model))
    return tokenizer, choose_template(tokenizer, "auto")


def _directory(model: str) -> Path:
    from edgetune import hub

    if model == hub.NANO or Path(model).expanduser().is_dir():
        return hub.resolve_model(model)
    for known in hub.list_models():
        if known.name == model:
            return known.path
    raise EdgetuneError(
        f"The model {model} is not on this machine, and looking at rows downloads nothing.",
        "Name a model directory, or pull it first: edgetune models pull NAME",
    )


@lru_cache(maxsize=2)
def _load(file: Path, changed: int) -> "Loaded":
    # ``changed``, its modification time, makes an edited file another one.
    from edgetune.data.formats import load

    return load([file])


def _row(conversation: "Conversation", tokenizer: "Tokenizer", template: "ChatTemplate") -> Row:
    from edgetune.data.preview import Piece, preview

    try:
        example, pieces = preview(conversation, tokenizer, template)
    except EdgetuneError as error:
        text = "\n".join(f"{m.role}: {m.content}" for m in conversation.messages)
        pieces = [Piece(text, trained=False, special=False)]
        return Row(conversation.line, conversation.task, 0, 0, pieces, error.message)
    return Row(
        conversation.line,
        conversation.task,
        len(example.ids),
        int(example.trained.sum()),
        pieces,
        problem="",
    )
