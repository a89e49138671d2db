"""Rows as the model sees them, in colour or with marks."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from edgetune.data.inspection import Seen, Viewer
    from edgetune.data.preview import Piece, Token

_KEPT = "\n\t"
# White space that a terminal shows as it is meant.


@dataclass(frozen=True)
class Wanted:
    """Which rows to show."""

    rows: int
    first: int
    """From this row on, counted from 1 among those that fit the rest."""
    line: int | None
    task: str | None
    problems: bool


def choose(viewer: Viewer, wanted: Wanted) -> list[Seen]:
    """The rows that are wanted. Raises RequestError if there are none, unless only rows with
    problems are."""
    from edgetune.errors import RequestError

    shown: list[Seen] = []
    before = wanted.first - 1
    sources = viewer.config.train
    one_file = len(sources) == 1 and Path(sources[0].path).is_file()
    for conversation, findings in viewer.rows():
        row = conversation or findings[0]
        if wanted.line is not None and row.line != wanted.line:
            if one_file and row.line > wanted.line:
                break
            continue
        if wanted.task not in (None, conversation.task if conversation else ""):
            continue
        item = viewer.see(conversation, findings)
        if wanted.problems and not item.findings:
            continue
        if before:
            before -= 1
            continue
        shown.append(item)
        if len(shown) == wanted.rows and wanted.line is None:
            break
    if not shown and not wanted.problems:
        if wanted.line is not None:
            raise RequestError(
                f"No row begins on line {wanted.line}.", "`edgetune data inspect` names lines."
            )
        raise RequestError("There is no such row.", "Ask for an earlier row or another task.")
    return shown


def as_json(item: Seen) -> dict[str, Any]:
    """A row for scripts."""
    return {
        "file": item.file,
        "line": item.line,
        "task": item.task,
        "findings": [asdict(finding) for finding in item.findings],
        "examples": [
            {
                "tokens": len(view.tokens),
                "trained_tokens": view.trained,
                "notes": list(view.notes),
                "pieces": [asdict(piece) | {"trained": piece.trained} for piece in view.pieces],
                "ids": [token.id for token in view.tokens],
                "weights": [token.weight for token in view.tokens],
            }
            for view in item.views
        ],
    }


def print_rows(template: str, shown: Sequence[Seen], tokens: bool = False) -> None:
    """Each row with its findings and its examples."""
    from edgetune.cli.tables import console

    if not shown:
        print("No row has a problem; `edgetune data inspect` says more.", file=sys.stderr)
        return
    out = console()
    coloured = out.color_system is not None
    out.print(_key(template, shown, coloured), soft_wrap=True)
    for item in shown:
        _print_row(out, item, tokens, coloured)


def _key(template: str, shown: Sequence[Seen], coloured: bool) -> Text:
    from rich.text import Text

    pieces = [piece for item in shown for view in item.views for piece in view.pieces]
    key = Text(f"{template} template; ")
    key.append(*(("trained", _style(1.0, "text")) if coloured else ("⟦trained⟧", "")))
    key.append(", the rest is only read")
    if coloured and any(piece.special for piece in pieces):
        key.append("; ").append("control token", _style(0.0, "control"))
    if any(piece.kind == "lookalike" for piece in pieces):
        key.append("; ")
        key.append_text(_lookalike("text that only looks like one", 0.0, coloured))
    if any(piece.weight not in (0.0, 1.0) for piece in pieces):
        key.append("; ×0.5: counts half as much")
    return key


def _print_row(out: Console, item: Seen, tokens: bool, coloured: bool) -> None:
    from rich.text import Text

    from edgetune.data.checks.findings import spoken, visible

    title = f"── {spoken(item.file)}, line {item.line}"
    title += f" ({item.task})" if item.task else ""
    for number, view in enumerate(item.views, 1):
        of = f", example {number} of {len(item.views)}" if len(item.views) > 1 else ""
        count = f"{of}: {len(view.tokens)} tokens, {view.trained} trained"
        out.print(Text(visible(f"\n{title}{count}", "\n"), "dim"), soft_wrap=True)
        if number == 1:
            _print_findings(out, item)
        for note in view.notes:
            out.print(Text(f"note: {visible(note)}", "cyan"), soft_wrap=True)
        if tokens:
            _print_tokens(out, view.tokens)
        else:
            out.print(_drawn(view.pieces, coloured), soft_wrap=True)
    if not item.views:
        left_out = ": left out" if any(f.left_out for f in item.findings) else ""
        out.print(Text(visible(f"\n{title}{left_out}", "\n"), "dim"), soft_wrap=True)
        _print_findings(out, item)
        for message in item.messages:
            line = Text(f"{message.role}: " if message.role else "", "bold")
            out.print(line.append(visible(message.content, _KEPT), "not bold"), soft_wrap=True)


def _print_findings(out: Console, item: Seen) -> None:
    from rich.text import Text

    from edgetune.cli.data_report import STYLES
    from edgetune.data.checks.findings import visible

    for found in item.findings:
        text = Text.assemble((found.grade, STYLES[found.grade]), f": {visible(found.message)}")
        if found.related:
            text.append(f" ({visible(found.related)})")
        out.print(text, soft_wrap=True)


def _drawn(pieces: Iterable[Piece], coloured: bool) -> Text:
    from rich.text import Text

    from edgetune.data.checks.findings import visible

    text, weight = Text(), 0.0
    for piece in pieces:
        if piece.weight != weight:
            if not coloured:
                text.append(("⟧" if weight else "") + ("⟦" if piece.weight else ""))
            if piece.weight not in (0.0, 1.0):
                text.append(f"×{piece.weight:g} ", "reverse" if coloured else "")
            weight = piece.weight
        if piece.kind == "lookalike":
            text.append_text(_lookalike(visible(piece.text), piece.weight, coloured))
        else:
            style = _style(piece.weight, piece.kind) if coloured else ""
            text.append(visible(piece.text, _KEPT), style)
    return text.append("⟧" if weight and not coloured else "")


def _lookalike(text: str, weight: float, coloured: bool) -> Text:
    from rich.text import Text

    return Text(text, "underline " + _style(weight, "text")) if coloured else Text(f"‹{text}›")


def _style(weight: float, kind: str) -> str:
    if kind == "control":
        return "bold green" if weight else "bold magenta"
    return "green" if weight else ""


def _print_tokens(out: Console, tokens: Sequence[Token]) -> None:
    from rich.table import Table
    from rich.text import Text

    from edgetune.data.checks.findings import visible

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("place", "id", "weight"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("text", overflow="fold")
    for place, token in enumerate(tokens):
        style = _style(token.weight, "control" if token.control else "text")
        text = Text(visible(token.text).replace(" ", "·"), style)
        table.add_row(str(place), str(token.id), f"{token.weight:g}", text)
    out.print(table)
