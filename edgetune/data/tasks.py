"""Task files rendered: every row becomes one conversation, in one of the task's phrasings.

What is rendered follows from the task file alone (its ``seed`` included), so that ``data show``,
``data inspect`` and every run see the same.

- The phrasings are dealt out in rounds: each round is a permutation of all templates drawn by
  seed, so that over the distinct rows their counts never differ by more than one, and rows added
  at the end change none before them. Rows equal in all used fields get the same phrasing, so that
  they stay duplicates and a split never parts them.
- Examples (few-shot) come only from rows that the task sets aside for it, which are never asked
  themselves, so an example can neither be the row itself nor one held out for validation. Which
  ones a row shows depends on the row's content and the seed.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgetune.config import SourceConfig
from edgetune.data import sources
from edgetune.data.conversation import Conversation, Digest, Finding, Message
from edgetune.data.readers.rows import FileRead, Row, unusable
from edgetune.data.task_file import (
    SHOTS,
    TaskFile,
    Template,
    beside,
    fields_of,
    fill,
    is_task_file,
    read_task_file,
)
from edgetune.errors import RequestError

__all__ = ["is_task_file", "read"]


def read(path: Path, source: SourceConfig, group: str = "") -> Iterator[Any]:
    """The conversations of a task file in the order of its rows (``Conversation``), findings
    where they arise (``Finding``), and after each file what was read of it (``FileRead``).

    ``group`` is the key of a row that names its group. Raises RequestError, naming line and
    field, for a task file that is not what it should be.
    """
    if source.columns or source.format != "auto":
        raise RequestError(
            f"{path} is a task file, whose rows have the fields that its templates name; a format "
            "or column names do not go with it.",
            "Leave them out.",
        )
    known = read_task_file(path)
    renderer = _Renderer(known.task, source, group)
    inline = 0
    if isinstance(known.task.examples, list):
        lines = known.lines.get("examples", [])
        yield from renderer.add_examples(_inline(known.task.examples, lines, path))
        inline += len(known.task.examples)
    elif isinstance(known.task.examples, str):
        yield from renderer.add_examples(sources.read_rows(beside(path, known.task.examples)))
    if isinstance(known.task.rows, list):
        lines = known.lines.get("rows", [])
        yield from renderer.render(_inline(known.task.rows, lines, path))
        inline += len(known.task.rows)
    else:
        yield from renderer.render(sources.read_rows(beside(path, known.task.rows)))
    yield from renderer.notes(path)
    digest = hashlib.sha256(known.data).hexdigest()
    yield FileRead(str(path), digest, inline, len(known.data))


def _inline(rows: Sequence[Any], lines: Sequence[int], path: Path) -> Iterator[Row | Finding]:
    for value, line in zip(rows, lines, strict=True):
        yield unusable(value, str(path), line) or Row(value, str(path), line)


@dataclass
class _Renderer:
    task: TaskFile
    source: SourceConfig
    group: str
    pool: list[dict[str, str]] = field(default_factory=list)
    """The examples, as the values of their fields."""
    dealt: dict[bytes, int] = field(default_factory=dict)
    """The template of every distinct row so far, by its digest."""
    deck: list[int] = field(default_factory=list)
    """The templates that are still to be dealt out in this round, the next one last."""
    kept: int = 0
    """Rows still to be kept as examples."""
    unused: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        patterns = [self.task.system, *(t.system for t in self.task.templates)]
        names = [name for pattern in patterns for name in fields_of(pattern)]
        names += [name for template in self.task.templates for name in template.needs()]
        self.fields = list(dict.fromkeys(names))
        self.kept = self.task.examples if isinstance(self.task.examples, int) else 0
        self.examples_kept = self.kept
        self.most = max(template.shots for template in self.task.templates)

    def add_examples(self, rows: Iterable[Row | Finding | FileRead]) -> Iterator[Any]:
        """Take rows as examples; yields what there is to say."""
        for row in rows:
            if not isinstance(row, Row):
                yield row
                continue
            yield from row.findings
            values = self._values(row)
            if isinstance(values, Finding):
                yield values
            else:
                self.pool.append(values)

    def render(self, rows: Iterable[Row | Finding | FileRead]) -> Iterator[Any]:
        """One conversation per row; yields whatever else there is to say as well."""
        if not self.kept:
            self._check_pool()
        taken: set[bytes] = {self._digest(values) for values in self.pool}
        for row in rows:
            if not isinstance(row, Row):
                yield row
                continue
            yield from row.findings
            values = self._values(row)
            if isinstance(values, Finding):
                yield values
                continue
            digest = self._digest(values)
            if digest in taken:
                yield _problem(
                    row, "warning", "duplicate", "the row is one of the task's examples as well"
                )
            elif self.kept:
                self.kept -= 1
                self.pool.append(values)
                taken.add(digest)
            else:
                yield self._conversation(row, values, digest)
        if self.kept:
            self._check_pool()

    def notes(self, path: Path) -> Iterator[Finding]:
        """What is to be said once all rows are read."""
        if self.examples_kept:
            message = f"the first {self.examples_kept} rows are shown as examples and never asked"
            yield Finding("note", "examples", message, str(path))
        if self.unused:
            keys = ", ".join(f"`{key}`" for key in sorted(self.unused))
            message = f"no template uses {keys} of its rows"
            yield Finding("note", "ignored-keys", message, str(path))

    def _check_pool(self) -> None:
        if len(self.pool) < self.most:
            raise RequestError(
                f"The task `{self.task.task}` shows {self.most} examples, and only "
                f"{len(self.pool)} of its rows are usable as such.",
                "Add rows under `examples`, or lower `shots`.",
            )

    def _values(self, row: Row) -> dict[str, str] | Finding:
        """The fields that the templates name, as text, or why the row cannot be used."""
        if not isinstance(row.value, dict):
            return _problem(row, "error", "malformed", "the row is not an object with fields")
        values = {}
        for name in self.fields:
            if row.value.get(name) is None:
                has = "is empty (null)" if name in row.value else "is missing"
                return _problem(row, "error", "malformed", f"`{name}` {has}, which a template uses")
            text = _text(row.value[name])
            if text is None:
                reason = f"`{name}` is neither text nor a number nor a list of such"
                return _problem(row, "error", "malformed", reason)
            values[name] = text
        self.unused.update(key for key in row.value if key not in values and key != self.group)
        return values

    def _digest(self, values: dict[str, str]) -> bytes:
        digest = Digest(self.task.seed)
        for text in values.values():
            digest.add(text)
        return digest.value()

    def _conversation(
        self, row: Row, values: dict[str, str], digest: bytes
    ) -> Conversation | Finding:
        number = self.dealt.get(digest)
        if number is None:
            number = self.dealt[digest] = self._deal()
        template = self.task.templates[number]
        which = f"template {number + 1}"
        prompt, answer = fill_prompt(template, values, self._examples(digest, template.shots))
        if not prompt[-1].content.strip():
            return _problem(row, "warning", "empty", f"the prompt of {which} is empty")
        if not answer.content.strip():
            return _problem(row, "warning", "no-answer", f"the answer of {which} is empty")
        messages = (*prompt, answer)
        system = fill(template.system or self.task.system, values) or self.source.system
        if system.strip():
            messages = (Message("system", system), *messages)
        group = row.value.get(self.group) if self.group else None
        return Conversation(
            messages,
            task=self.task.task,
            group="" if group is None else _text(group) or "",
            file=row.file,
            line=row.line,
        )

    def _deal(self) -> int:
        """The template of the next distinct row."""
        if not self.deck:
            number = len(self.task.templates)
            round_ = len(self.dealt) // number
            # numpy promises that raw bits never change; the last number tells the use.
            raw = np.random.PCG64([self.task.seed, round_, 1]).random_raw(number)
            self.deck = np.argsort(raw, kind="stable").tolist()[::-1]
        return self.deck.pop()

    def _examples(self, digest: bytes, shots: int) -> list[dict[str, str]]:
        """As many different examples, chosen by a row's digest."""
        left = list(range(len(self.pool))) if shots else []
        number = int.from_bytes(hashlib.blake2b(digest).digest(), "little")
        chosen = []
        for _ in range(shots):
            number, place = divmod(number, len(left))
            chosen.append(self.pool[left.pop(place)])
        return chosen


def fill_prompt(
    template: Template, values: dict[str, str], examples: Sequence[dict[str, str]]
) -> tuple[list[Message], Message]:
    """The messages up to the question, and the answer, without a system message."""

    def answer(of: dict[str, str], weight: float | None = None) -> Message:
        reasoning = fill(template.reasoning, of)
        return Message("assistant", fill(template.answer, of), reasoning, weight=weight)

    before: list[Message] = []
    if template.turns:
        for example in examples:
            before += [Message("user", fill(template.prompt, example)), answer(example, 0.0)]
    shot = template.shot or f"{template.prompt}\n{template.answer}"
    block = "" if template.turns else "\n\n".join(fill(shot, example) for example in examples)
    prompt = fill(template.prompt, {**values, SHOTS: block})
    if block and SHOTS not in fields_of(template.prompt):
        prompt = f"{block}\n\n{prompt}"
    return [*before, Message("user", prompt)], answer(values)


def _text(value: Any) -> str | None:
    """A field's value as it is written: text as it is, numbers as JSON has them, a list as lines
    that begin with a dash; None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        try:
            return json.dumps(value)
        except ValueError:  # a number of more digits than Python writes
            return None
    if isinstance(value, list):
        items = [None if isinstance(item, list) else _text(item) for item in value]
        return None if None in items else "\n".join(f"- {item}" for item in items)
    return None


def _problem(row: Row, grade: Any, kind: str, message: str) -> Finding:
    return Finding(grade, kind, message, row.file, row.line, left_out=True)
