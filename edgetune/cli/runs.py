"""``edgetune runs``: the training runs on this machine."""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edgetune.runs import Run, Summary

app = typer.Typer(help="List, show and remove training runs.")

RunsDir = Annotated[Path | None, typer.Option(help="Folder of the runs.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Name = Annotated[str, typer.Argument(help="Name of the run, or its folder.")]


@app.command("list")
def list_(
    all_: Annotated[
        bool, typer.Option("--all", help="Also the runs in other folders of this machine.")
    ] = False,
    runs_dir: RunsDir = None,
    json_: Json = False,
) -> None:
    """Every run, where it stands and what it reached."""
    from edgetune import paths, runs
    from edgetune.errors import EdgetuneError

    folder = paths.runs_dir(runs_dir)
    summaries: list[Summary] = []
    damaged: list[tuple[Run, EdgetuneError]] = []
    for run in runs.find_all(folder) if all_ else runs.find(folder):
        try:
            summaries.append(runs.summarize(run))
        except EdgetuneError as error:
            damaged.append((run, error))
    summaries.sort(key=lambda summary: summary.updated)
    for run, reason in damaged:
        print(f"{run.path} cannot be read: {reason.message}", file=sys.stderr)
    if json_:
        print(json.dumps([_document(item) for item in summaries], indent=1, ensure_ascii=False))
    elif summaries:
        _print_list(summaries, folders=all_)
    else:
        print(f"No runs in {folder}.", file=sys.stderr)


@app.command()
def show(name: Name, runs_dir: RunsDir = None, json_: Json = False) -> None:
    """One run: its settings, its losses, its checkpoints and its exports."""
    from edgetune import events, paths, runs
    from edgetune.data.checks.findings import counted

    run = runs.open_run(name, paths.runs_dir(runs_dir))
    summary = runs.summarize(run)
    history = run.events()
    validations = [item for item in history if isinstance(item, events.Validated)]
    notes = [item.message for item in history if isinstance(item, events.Note)]
    reports = [item for item in history if isinstance(item, events.DataReport)]
    checkpoints = sorted(path.name for path in run.checkpoints.glob("step-*"))
    config = run.config()
    if json_:
        document = _document(summary) | {
            "config": config.model_dump(),
            "validations": [item.model_dump() for item in validations],
            "checkpoints": checkpoints,
            "notes": notes,
            "findings": reports[-1].counts if reports else None,
        }
        print(json.dumps(document, indent=1, ensure_ascii=False))
        return
    rows = [
        ("run", str(summary.path)),
        ("state", f"{summary.state}, step {summary.step} of {summary.steps}"),
        ("model", summary.model),
        ("data", ", ".join(source.path for source in config.data.train)),
        ("findings", f"{counted(reports[-1].counts)} ({run.report_file})" if reports else "-"),
        ("adapter", f"{config.adapter.method}, rank {config.adapter.rank}"),
        ("learning rate", f"{config.train.learning_rate:g}"),
        ("train loss", _loss(summary.train_loss)),
        ("validation loss", _history(validations)),
        ("checkpoints", ", ".join(checkpoints) or "-"),
        ("exports", "\n".join(str(file) for file in summary.exports) or "-"),
        ("notes", "\n".join(dict.fromkeys(notes)) or "-"),
    ]
    from rich.table import Table
    from rich.text import Text

    from edgetune.cli.tables import console

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for title, value in rows:
        table.add_row(title, Text(value))
    console().print(table)


@app.command()
def remove(
    names: Annotated[list[str], typer.Argument(help="Names of the runs, or their folders.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    runs_dir: RunsDir = None,
    json_: Json = False,
) -> None:
    """Delete runs with all they hold: settings, checkpoints, adapter and exports."""
    from edgetune import paths, runs
    from edgetune.errors import RequestError

    found = [runs.open_run(name, paths.runs_dir(runs_dir)) for name in names]
    for run in found:
        if run.process() is not None:
            raise RequestError(f"The run {run.path} is being worked on.", "Stop it first.")
    if not yes:
        listed = ", ".join(str(run.path) for run in found)
        if not sys.stdin.isatty():
            raise RequestError(f"Nobody is there to confirm the removal of {listed}.", "Add --yes.")
        typer.confirm(f"Remove {listed} with all they hold?", abort=True, err=True)
    for run in found:
        runs.remove(run)
    if json_:
        print(json.dumps({"removed": [str(run.path) for run in found]}, ensure_ascii=False))


def _document(summary: "Summary") -> dict[str, Any]:
    exports = [str(path) for path in summary.exports]
    return asdict(summary) | {"path": str(summary.path), "exports": exports}


def _print_list(summaries: "list[Summary]", folders: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from edgetune.cli.tables import console

    table = Table(box=None, pad_edge=False, header_style="bold")
    # Too narrow a terminal folds the model, not the name that other commands take.
    table.add_column("run", overflow="fold", no_wrap=not folders)
    table.add_column("model", overflow="fold")
    table.add_column("state", no_wrap=True)
    for title in ("step", "loss", "valid.", "GGUF"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("changed", no_wrap=True)
    for item in summaries:
        table.add_row(
            Text(str(item.path) if folders else item.name),
            Text(Path(item.model).name),
            item.state,
            f"{item.step}/{item.steps}",
            _loss(item.train_loss),
            _loss(item.validation_loss),
            str(len(item.exports)),
            _moment(item.updated),
        )
    console().print(table)


def _moment(seconds: float) -> str:
    """The time of a moment today, the date of an earlier one."""
    then, now = time.localtime(seconds), time.localtime()
    today = then[:3] == now[:3]
    return time.strftime("%H:%M" if today else "%Y-%m-%d", then)


def _loss(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _history(validations: list[Any]) -> str:
    """First, best and last validation loss with their steps."""
    if not validations:
        return "-"
    best = min(validations, key=lambda item: float(item.validation_loss))
    named = {"before": validations[0], "best": best, "last": validations[-1]}
    return ", ".join(
        f"{word} {item.validation_loss:.4f} (step {item.step})" for word, item in named.items()
    )
