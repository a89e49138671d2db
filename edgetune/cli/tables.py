"""Results as tables on stdout."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from edgetune.evaluate import Evaluation, Score
    from edgetune.quantize.reference import Verification


_UNBOUNDED = 10_000
"""Characters in a line where no terminal limits it."""


def console() -> Console:
    """A console on stdout, made when needed so that a redirected stdout is respected: in a file
    or a pipe every row stays one line."""
    made = Console(highlight=False, markup=False, emoji=False)
    if not made.is_terminal:
        made.width = _UNBOUNDED
    return made


def print_exports(verifications: "Sequence[Verification]") -> None:
    """File, size, closeness and verdict of each build."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("file", "type"):
        table.add_column(name, overflow="fold")
    for name in ("size", "bits/weight", "top-1", "mean KLD"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict")
    for item in verifications:
        good = item.verdict == "verified"
        table.add_row(
            Path(item.file).name,
            item.type,
            human_size(item.bytes),
            f"{item.bits_per_weight:.2f}",
            f"{item.top1:.4f}",
            f"{item.kld_mean:.1e}",
            Text(item.verdict, style="green" if good else "bold red"),
        )
    console().print(table)


def print_checks(verification: "Verification") -> None:
    """Each check of one verification with its finding."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in verification.checks:
        mark = Text("ok", style="green") if check.passed else Text("FAILED", style="bold red")
        table.add_row(mark, check.name, Text(check.detail))
    console().print(table)


def print_scores(evaluations: "Sequence[Evaluation]") -> None:
    """Exact match by set, one column per evaluated model."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("set")
    table.add_column("rows", justify="right")
    for evaluation in evaluations:
        table.add_column(evaluation.target, justify="right")
    first = evaluations[0]
    for name, score in first.scores.items():
        cells = []
        for evaluation in evaluations:
            cell = f"{evaluation.scores[name].exact_match:.3f}"
            if name in evaluation.losses:
                cell += f" (loss {evaluation.losses[name]:.3f})"
            cells.append(cell)
        table.add_row(name, str(score.rows), *cells)
        for task, part in score.tasks().items():
            row = [f"{e.scores[name].tasks()[task].exact_match:.3f}" for e in evaluations]
            table.add_row(Text(f"  {task}", style="dim"), str(part.rows), *row)
    console().print(table)


def print_answers(title: str, score: "Score") -> None:
    """Every answer beside the expected one."""
    table = Table(title=title, box=None, pad_edge=False, header_style="bold")
    for name in ("instruction", "expected", "answer"):
        table.add_column(name, overflow="fold")
    for item in score.graded:
        style = "green" if item.correct else "red"
        table.add_row(Text(item.prompt), Text(item.expected), Text(item.answer, style=style))
    console().print(table)


def human_size(size: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.1f} {unit}" if unit != "B" else f"{size} B"
        size /= 1024  # type: ignore[assignment]
    return f"{size:.2f} GiB"
