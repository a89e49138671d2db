"""What instruction data holds and what is wrong with it, before anything is trained.

``examine`` goes through the rows once and keeps little of each; its result is plain data, ready
for JSON: ``files``, ``rows`` read and ``usable``, ``parts`` (train, valid), ``tasks``,
``sources``, ``roles``, ``turns``, ``with`` (rows with tools, reasoning, …), ``lengths`` in
characters or, with a model, in tokens, ``limit``, ``duplicates``, ``diversity``, ``languages``,
``odd_characters``, ``model``, ``plan``, ``findings`` (all, the worst first) and their ``counts``.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from edgetune.data.checks.characters import Languages, odd_characters
from edgetune.data.checks.contents import check, texts
from edgetune.data.checks.diversity import Diversity
from edgetune.data.checks.duplicates import Duplicates
from edgetune.data.checks.lengths import summarize
from edgetune.data.checks.truncation import Truncation
from edgetune.data.conversation import ROLES, Conversation, Finding, answers
from edgetune.data.reading import FileSummary

Progress = Callable[[str, float], None]
"""Called with what is being done and which part of it, 0 to 1."""
Items = Iterable[Conversation | Finding | FileSummary]

_PARTS = ("train", "valid")
_GRADES = ("error", "warning", "note")
_BLOCK = 500


@dataclass
class TokenFacts:
    """What a model makes of the rows: arrays over all examples, and what an epoch is made of."""

    max_length: int
    valid: np.ndarray
    """Whether an example is for validation."""
    length: np.ndarray
    """Tokens, those beyond the limit included."""
    trained: np.ndarray
    lost: np.ndarray
    """Trained tokens beyond the limit."""
    parts: dict[str, dict[str, int]]
    """Of ``train`` and ``valid`` what is left within the limit: rows, tokens, trained tokens,
    the longest."""
    tasks: list[dict[str, Any]]
    sources: list[dict[str, Any]]
    """As in the report."""


def examine(
    train: Items,
    valid: Items = (),
    *,
    facts: TokenFacts | None = None,
    model: dict[str, Any] | None = None,
    plan: dict[str, Any] | None = None,
    findings: Iterable[Finding] = (),
    files: Iterable[dict[str, Any]] = (),
    total: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The report on the conversations among ``train`` and ``valid``.

    Findings and file summaries may stand among them, as ``reading.read`` gives them, or come as
    ``findings`` and ``files`` (with their ``use``, "train" or "valid"). ``total`` is how many
    conversations there are, if that is known. ``model`` and ``plan`` are passed on.
    """
    say = progress or (lambda stage, share: None)
    seen = _Rows()
    seen.findings += findings
    seen.files += files
    with Duplicates() as duplicates:
        for part, items in zip(_PARTS, (train, valid), strict=True):
            for item in items:
                if isinstance(item, Finding):
                    seen.findings.append(item)
                elif isinstance(item, FileSummary):
                    seen.files.append({"use": part, **asdict(item)})
                else:
                    duplicates.add(item, part == "valid")
                    seen.add(item, part)
                    if total and seen.count % _BLOCK == 0:
                        say("looking at the rows", min(1.0, seen.count / total))
        repeats, counts = duplicates.find(lambda share: say("looking for repeated rows", share))
    seen.findings += repeats
    return seen.report(counts, facts) | {"model": model, "plan": plan}


@dataclass
class _Part:
    """Figures of the training rows or of the validation rows."""

    characters: int = 0
    tasks: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)


class _Rows:
    """What is known of the rows so far."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.files: list[dict[str, Any]] = []
        self.count = 0
        self._parts = {part: _Part() for part in _PARTS}
        self._longest = dict.fromkeys(_PARTS, 0)
        self._roles: Counter[str] = Counter(dict.fromkeys(ROLES, 0))
        self._turns: Counter[int] = Counter()
        self._with = Counter(
            dict.fromkeys(("system", "tools", "tool_calls", "reasoning", "rejected", "text"), 0)
        )
        self._prompts, self._answers, self._lengths = array("Q"), array("Q"), array("Q")
        self._diversity, self._languages, self._cut_off = Diversity(), Languages(), Truncation()
        self._odd: dict[str, dict[str, Any]] = {}

    def add(self, conversation: Conversation, part: str) -> None:
        """One more row of ``part``."""
        self.count += 1
        said = texts(conversation)
        text = "\n".join(said)
        self._measure(conversation, part, sum(map(len, said)))
        self._count_roles(conversation)
        self.findings += check(conversation, text)
        self._look_at_characters(conversation, text)
        self._languages.add(text)
        place = (conversation.file, conversation.line)
        for message in answers(conversation.messages):
            if not message.tool_calls:
                self._cut_off.add(message.content, place, conversation.task or place[0])
        for message in conversation.messages:
            if message.role == "user":
                self._diversity.add(message.content)
                break

    def report(self, repeats: dict[str, float], facts: TokenFacts | None) -> dict[str, Any]:
        self._add_cut_off()
        order = {grade: number for number, grade in enumerate(_GRADES)}
        self.findings.sort(key=lambda one: (order[one.grade], one.file, one.line))
        counts: Counter[str] = Counter(finding.grade for finding in self.findings)
        return {
            "files": self.files,
            "rows": sum(file["rows"] for file in self.files) or self.count,
            "usable": self.count,
            "parts": self._part_figures(facts),
            "tasks": facts.tasks if facts else self._shares("task"),
            "sources": facts.sources if facts else self._shares("source"),
            "roles": dict(self._roles),
            "turns": {str(turns): self._turns[turns] for turns in sorted(self._turns)},
            "with": dict(self._with),
            "lengths": self._length_figures(facts),
            "limit": _limit(facts) if facts else None,
            "duplicates": repeats,
            "diversity": self._diversity.result(),
            "languages": self._languages.result(),
            "odd_characters": sorted(self._odd.values(), key=lambda odd: -odd["rows"]),
            "findings": [asdict(finding) for finding in self.findings],
            "counts": {grade: counts[grade] for grade in _GRADES},
        }

    def _measure(self, conversation: Conversation, part: str, length: int) -> None:
        figures = self._parts[part]
        figures.characters += length
        figures.tasks[conversation.task] += 1
        figures.sources[conversation.file] += 1
        self._longest[part] = max(self._longest[part], length)
        answered = sum(len(m.content) + len(m.reasoning) for m in answers(conversation.messages))
        asked = sum(len(m.content) for m in conversation.messages if m.role != "assistant")
        self._lengths.append(length)
        if conversation.messages:
            self._prompts.append(asked)
            self._answers.append(answered)

    def _count_roles(self, conversation: Conversation) -> None:
        messages = conversation.messages
        roles = Counter(message.role for message in messages)
        self._roles.update(roles)
        if messages:
            self._turns[roles["assistant"]] += 1
        for name, there in (
            ("system", roles["system"]),
            ("tools", conversation.tools),
            ("tool_calls", any(message.tool_calls for message in messages)),
            ("reasoning", any(message.reasoning for message in messages)),
            ("rejected", conversation.rejected),
            ("text", conversation.text),
        ):
            self._with[name] += bool(there)

    def _look_at_characters(self, conversation: Conversation, text: str) -> None:
        kinds = odd_characters(text)
        for kind in kinds:
            odd = self._odd.setdefault(
                kind,
                {
                    "kind": kind,
                    "rows": 0,
                    "example_file": conversation.file,
                    "example_line": conversation.line,
                },
            )
            odd["rows"] += 1
        if kinds:
            where = conversation.file, conversation.line
            message = f"it holds {', '.join(kinds)}"
            self.findings.append(Finding("note", "odd-characters", message, *where))

    def _add_cut_off(self) -> None:
        reported = set()
        for found in self._cut_off.result():
            if found.key not in reported:
                reported.add(found.key)
                message = f"the answer looks cut off: it {found.reason}"
                self.findings.append(Finding("warning", "truncated", message, *found.key))

    def _part_figures(self, facts: TokenFacts | None) -> dict[str, dict[str, int]]:
        figures = {}
        for name, part in self._parts.items():
            figures[name] = {
                "rows": part.sources.total(),
                "characters": part.characters,
                "longest": self._longest[name],
            }
            if facts:
                figures[name] |= facts.parts[name]
        return figures

    def _shares(self, by: str) -> list[dict[str, Any]]:
        """Rows of each task or source; an epoch visits every training row once."""
        found = []
        for name, part in self._parts.items():
            counts = part.tasks if by == "task" else part.sources
            for value, rows in counts.most_common():
                share = rows / counts.total() if name == "train" else 0.0
                found.append({by: value, "part": name, "rows": rows, "share": share})
        return found

    def _length_figures(self, facts: TokenFacts | None) -> dict[str, Any]:
        if facts:
            prompts, given = facts.length - facts.trained, facts.trained
            lengths: Any = facts.length
        else:
            prompts, given, lengths = (
                np.array(values, np.int64)
                for values in (self._prompts, self._answers, self._lengths)
            )
        return {
            "unit": "tokens" if facts else "characters",
            "prompt": summarize(prompts),
            "answer": summarize(given),
            "row": summarize(lengths),
        }


def _limit(facts: TokenFacts) -> dict[str, int]:
    return {
        "max_length": facts.max_length,
        "over": int((facts.length > facts.max_length).sum()),
        "lose_answer": int((facts.lost > 0).sum()),
    }
