"""Options that several commands on data share: what rows there are and how they are read."""

from __future__ import annotations

from typing import Annotated

import typer

DATA_HELP = "Rows: files, directories, task files, - for standard input, or Hugging Face datasets."

Format = Annotated[
    str | None, typer.Option("--format", help="The rows' format, instead of the one recognized.")
]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", help="KEY=NAME: which of the rows' keys holds KEY. Repeatable."),
]
System = Annotated[str | None, typer.Option(help="System message for the rows without one.")]
Task = Annotated[str | None, typer.Option(help="Task of the rows that name none.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def columns(assignments: list[str] | None) -> dict[str, str]:
    """The columns that ``--column`` names. Raises RequestError."""
    from edgetune.errors import RequestError

    found = {}
    for assignment in assignments or []:
        key, _, name = assignment.partition("=")
        if not key or not name:
            raise RequestError(
                f"`--column {assignment}` is not of the form KEY=NAME.",
                "Example: --column instruction=question_text",
            )
        found[key] = name
    return found
