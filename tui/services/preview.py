"""The rows of a data file as the model will see them, and what is wrong with the file."""

import json
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from itertools import dropwhile, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetune.errors import EdgetuneError
from edgetune.train import process

if TYPE_CHECKING:
    from edgetune.data.conversation import Conversation, Finding
    from edgetune.data.inspection import Seen
    from edgetune.data.templates.rendering import ChatTemplate
    from edgetune.data.tokenizer import Tokenizer

PAGE = 20
"""Rows shown at a time."""


Place = tuple[str, int]
"""File and line of a row; of a task file or a folder the rows stand in other files."""


@dataclass(frozen=True)
class Preview:
    """A page of rows of a data file."""

    file: Path
    model: str
    template: str
    start: int
    """Index of the first row on this page, from 0."""
    rows: "list[Seen]"
    more: bool
    """Whether there are rows after these."""
    place: "Place | None" = None
    """The row that was asked for."""


def look(file: Path, model: str, start: int = 0, place: Place | None = None) -> Preview:
    """The page of ``file`` that begins with row ``start``, or with the row in ``place``, tokenized
    for ``model``. Reads no further than that page.

    Raises EdgetuneError if the file, the model or its tokenizer cannot be read, and if there is
    no such row.
    """
    if not file.exists():
        raise EdgetuneError(f"There is no file {file}.")
    tokenizer, template = _tokenizer(model)
    # The data libraries are imported when first needed: they take half the start-up time.
    from edgetune.config import DataConfig, SourceConfig
    from edgetune.data.inspection import Viewer

    viewer = Viewer(DataConfig(train=[SourceConfig(path=str(file))]), tokenizer, template)
    rows = enumerate(viewer.rows())
    if place is None:
        page = list(islice(rows, start, start + PAGE + 1))
    else:
        found = dropwhile(lambda item: _place(*item[1]) != place, rows)
        page = list(islice(found, PAGE + 1))
    if not page:
        wanted = f"row {start + 1}" if place is None else f"row in {place[0]}, line {place[1]}"
        raise EdgetuneError(f"{file} has no {wanted}.")
    seen = [viewer.see(*row) for _, row in page[:PAGE]]
    return Preview(file, model, template.name, page[0][0], seen, len(page) > PAGE, place)


def _place(conversation: "Conversation | None", findings: "list[Finding]") -> Place:
    row = conversation or findings[0]
    return row.file, row.line


@lru_cache(maxsize=2)
def _tokenizer(model: str) -> "tuple[Tokenizer, ChatTemplate]":
    from edgetune.data.templates.builtin import choose_template
    from edgetune.data.tokenizer import Tokenizer

    tokenizer = Tokenizer.from_directory(_directory(model))
    return tokenizer, choose_template(tokenizer)


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


class Examination:
    """A child ``edgetune data inspect``: looking through a large file takes a while, and the
    screen is to stay quick meanwhile."""

    def __init__(self, file: Path, model: str) -> None:
        """Raises OSError if the system refuses to start it."""
        self.file = file
        self._stopped = False
        self._child = subprocess.Popen(
            [*process.PROGRAM, "data", "inspect", str(file), "--model", model, "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def report(self) -> dict[str, Any] | None:
        """Wait for the report (see ``edgetune.data.report``); None if it was stopped.

        Raises EdgetuneError with the child's words if there is none.
        """
        out, said = self._child.communicate()
        if self._stopped:
            return None
        try:
            report: dict[str, Any] = json.loads(out)
            return report
        except ValueError:
            _, _, words = said.decode("utf-8", errors="replace").rpartition("edgetune: ")
            reason = " ".join(words.split()) or "The file was not looked through."
            raise EdgetuneError(reason) from None

    def stop(self) -> None:
        """End it, if it still works."""
        self._stopped = True
        if self._child.poll() is None:
            self._child.kill()
