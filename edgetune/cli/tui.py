"""``edgetune tui``: the terminal UI."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def command(
    runs_dir: Annotated[Path | None, typer.Option(help="Folder of the runs.")] = None,
) -> None:
    """Open the terminal UI: data, training with a live curve, export and chat."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        from edgetune.errors import RequestError

        raise RequestError(
            "The terminal UI needs a terminal.",
            "In scripts use `edgetune train`, `edgetune export` and `edgetune chat`.",
        )
    from edgetune.tui.app import run

    run(runs_dir)
