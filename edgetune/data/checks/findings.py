"""How findings are told: in which order, in which words, and without what would harm a screen."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import PurePath
from typing import Any

from edgetune import paths

GRADES = ("error", "warning", "note")
"""From the worst on."""

KINDS = {
    "broken": "cannot be read",
    "encoding": "not UTF-8",
    "nul": "NUL characters",
    "format": "fits no known format",
    "role": "unknown role",
    "malformed": "missing or of the wrong type",
    "leak": "validation row that is trained on",
    "near-leak": "validation row almost trained on",
    "secret": "key or password",
    "personal": "personal data",
    "truncated": "answer looks cut off",
    "overlong": "longer than the limit",
    "template": "cannot be rendered exactly",
    "no-answer": "nothing to learn",
    "empty": "empty message",
    "ends-with-user": "last message unanswered",
    "two-users": "two user messages in a row",
    "two-assistants": "two answers in a row",
    "assistant-first": "begins with an answer",
    "system-not-first": "system message in the middle",
    "placeholder": "placeholder left in",
    "control-text": "control token written out",
    "rendered": "already in a chat template",
    "judged": "said to be wrong or unsafe",
    "duplicate": "repeats another row",
    "near-duplicate": "almost repeats another row",
    "contradiction": "equal rows, opposite labels",
    "duplicate-key": "key given twice",
    "not-a-number": "NaN or infinity",
    "no-value": "a missing value written as text",
    "no-group": "no group",
    "unused-text": "text that is not used",
    "wrapped": "rows inside an object",
    "odd-characters": "odd characters",
    "bom": "byte order mark",
    "crlf": "Windows line ends",
    "number-as-text": "number where text belongs",
    "json-as-text": "object where text belongs",
    "several-answers": "several answers to choose from",
    "choices": "an answer among choices",
    "unlike-pair": "no preference pair",
    "undesirable": "undesirable answer",
    "no-input": "input that says there is none",
    "binary": "bytes, not text",
    "empty-thinking": "empty reasoning",
    "ignored-keys": "keys that are not used",
    "unnamed-column": "column without a name",
    "mixed-formats": "several formats in one file",
    "skipped": "files that are not read",
    "examples": "examples of a task file",
    "adjusted": "rendered with an adjustment",
    "no-validation": "no validation rows",
}
"""What each kind of finding is, in a few words; of each grade the weightiest first."""


def by_kind(findings: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Findings (as in the report) in groups of one grade and kind, the worst first."""
    order = {kind: number for number, kind in enumerate(KINDS)}

    def kind(item: dict[str, Any]) -> tuple[int, int, str]:
        slug = item["kind"]
        return GRADES.index(item["grade"]), order.get(slug, len(order)), slug

    for _, members in groupby(sorted(findings, key=kind), kind):
        yield list(members)


def heading(group: list[dict[str, Any]]) -> str:
    """What the findings of one kind are: ``12 × duplicate: repeats another row, 3 left out``."""
    kind, left_out = group[0]["kind"], sum(item["left_out"] for item in group)
    said = f"{len(group):,} × {kind}" + (f": {KINDS[kind]}" if kind in KINDS else "")
    if left_out:
        said += ", left out" if left_out == len(group) else f", {left_out:,} left out"
    return said


def place(item: dict[str, Any]) -> str:
    """``file, line N``, what there is of it, or nothing where it is about all the data."""
    line = f"line {item['line']}" if item.get("line") else ""
    return ", ".join(part for part in (spoken(item.get("file") or ""), line) if part)


def spoken(file: str) -> str:
    """How a file is called: what came through a pipe lies in a file that nobody named."""
    return "standard input" if PurePath(file).parent == paths.home() / "stdin" else file


def short_names(files: Iterable[str]) -> dict[str, str]:
    """For each file its name alone, or its path where another one has the same name."""
    known = set(files)
    names = Counter(PurePath(file).name for file in known)
    return {
        file: PurePath(spoken(file)).name if names[PurePath(file).name] == 1 else file
        for file in known
    }


def shortened(item: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """A finding with short names of files; of its other place only the line if it is in the same
    file."""
    file, related = item["file"], item["related"]
    if related.startswith(f"{file}, line "):
        related = related.removeprefix(f"{file}, ")
    else:
        path, comma, line = related.rpartition(", line ")
        related = names.get(path, path) + comma + line
    return item | {"file": names.get(file, file), "related": related}


def counted(counts: dict[str, int]) -> str:
    """``2 errors, 1 warning``; ``none`` where there is nothing."""
    said = [
        f"{counts[grade]:,} {grade}{'' if counts[grade] == 1 else 's'}"
        for grade in GRADES
        if counts.get(grade)
    ]
    return ", ".join(said) or "none"


def visible(text: str, keep: str = "") -> str:
    """``text`` without anything that a terminal would obey or hide: control characters become
    their pictures, marks that turn the writing direction their code points."""
    return text.translate(_PICTURES | {ord(char): char for char in keep})


_HIDDEN = (
    *range(0x80, 0xA0),
    0x061C,
    *(0x200E, 0x200F),
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
    0xFEFF,
    *range(0xD800, 0xE000),
)
_PICTURES = (
    {code: chr(0x2400 + code) for code in range(0x20)}
    | {0x7F: "␡"}
    | {code: f"<U+{code:04X}>" for code in _HIDDEN}
)
