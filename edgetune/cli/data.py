"""``edgetune data``: look at instruction data before training on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from edgetune.cli import data_files
from edgetune.cli.data_options import DATA_HELP, Columns, Format, Json, System, Task, columns

if TYPE_CHECKING:
    from edgetune.config import RunConfig

app = typer.Typer(help="Look at instruction data, convert, mix and split it.", no_args_is_help=True)

_MODEL_HELP = "Model whose tokens and chat template count: a directory, `nano`, or a hub name."
_TEMPLATE_HELP = "Chat template: auto, a built-in one (chatml, llama-3, …) or a Jinja file."

Template = Annotated[str | None, typer.Option(help=_TEMPLATE_HELP)]
TrainOn = Annotated[
    Literal["answers", "last", "everything"] | None,
    typer.Option(help="What is learned of a conversation.  [default: answers]"),
]
MaxLength = Annotated[
    int | None, typer.Option(min=8, help="Longest example in tokens.  [default: 1024]")
]
Config = Annotated[Path | None, typer.Option(help="Settings in a YAML file.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting: section.name=value. Repeatable."),
]


@app.command("inspect")
def inspect_command(
    data: Annotated[list[str] | None, typer.Argument(help=DATA_HELP)] = None,
    valid: Annotated[
        list[str] | None, typer.Option(help="Validation rows, likewise. Repeatable.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help=_MODEL_HELP)] = None,
    template: Template = None,
    max_length: MaxLength = None,
    train_on: TrainOn = None,
    format_: Format = None,
    column: Columns = None,
    system: System = None,
    task: Task = None,
    group: Annotated[str | None, typer.Option(help="Key of the rows that names a group.")] = None,
    config: Config = None,
    set_: Assignments = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 2 for warnings as well.")
    ] = False,
    all_: Annotated[bool, typer.Option("--all", help="Every finding, not the first few.")] = False,
    json_: Json = False,
) -> None:
    """Say what the data holds and what is wrong with it, by file and line.

    Lengths are in tokens with --model, in characters without. Exit status: 0 where nothing
    stands against training, 2 with errors, with --strict also with warnings.
    """
    chosen = _settings(
        config,
        set_,
        {"data.train": data, "data.valid": valid},
        {"format": format_, "columns": columns(column), "system": system, "task": task},
        {
            "model": model,
            "data.template": template,
            "data.max_length": max_length,
            "data.train_on": train_on,
            "data.group": group,
            "data.strict": strict or None,
        },
    )
    from edgetune.cli.display import Working
    from edgetune.data.inspection import inspect

    with Working() as working:
        report = inspect(chosen, working.show)
    if json_:
        print(json.dumps(report, ensure_ascii=False, indent=1))
    else:
        from edgetune.cli.data_report import print_report

        print_report(report, everything=all_)
    _judge(report["counts"], report["usable"], chosen.data.strict)


@app.command("show")
def show_command(
    data: Annotated[list[str], typer.Argument(help=DATA_HELP)],
    model: Annotated[str, typer.Option("--model", "-m", help=_MODEL_HELP)],
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, help="How many rows.")] = 3,
    row: Annotated[
        int | None, typer.Option(min=1, help="Begin with this row, counted from 1.")
    ] = None,
    line: Annotated[
        int | None, typer.Option(min=1, help="The row that begins on this line of its file.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Only rows of this task.")] = None,
    problems: Annotated[
        bool, typer.Option("--problems", help="Only rows that something is wrong with.")
    ] = False,
    tokens: Annotated[bool, typer.Option("--tokens", help="Token by token, with ids.")] = False,
    template: Template = None,
    max_length: MaxLength = None,
    train_on: TrainOn = None,
    format_: Format = None,
    column: Columns = None,
    system: System = None,
    config: Config = None,
    set_: Assignments = None,
    json_: Json = False,
) -> None:
    """Show what the model will see, with the tokens it learns in colour (or in ⟦ ⟧)."""
    chosen = _settings(
        config,
        set_,
        {"data.train": data},
        {"format": format_, "columns": columns(column), "system": system},
        {
            "model": model,
            "data.template": template,
            "data.max_length": max_length,
            "data.train_on": train_on,
        },
    )
    from edgetune.cli import data_show
    from edgetune.data.inspection import viewer

    view = viewer(chosen)
    wanted = data_show.Wanted(rows, row or 1, line, task, problems)
    shown = data_show.choose(view, wanted)
    if json_:
        document = {
            "model": chosen.model,
            "template": view.template.name,
            "rows": [data_show.as_json(item) for item in shown],
        }
        print(json.dumps(document, ensure_ascii=False, indent=1))
    else:
        data_show.print_rows(view.template.name, shown, tokens)


def _settings(
    config: Path | None,
    assignments: list[str] | None,
    data: dict[str, list[str] | None],
    source: dict[str, Any],
    flags: dict[str, Any],
) -> RunConfig:
    """The settings of a command on data; what is said of a ``source`` holds for all of them."""
    from edgetune.cli.settings import resolve
    from edgetune.errors import RequestError

    given = {name: value for name, value in flags.items() if value is not None}
    about = {name: value for name, value in source.items() if value}
    for name, paths in data.items():
        if paths:
            given[name] = [{"path": path, **about} if about else path for path in paths]
    chosen = resolve(config, given, assignments or [])
    if not chosen.data.train:
        raise RequestError("No data is named.", "Name a file with rows.")
    return chosen


def _judge(counts: dict[str, int], usable: int, strict: bool) -> None:
    """Raises RequestError where the findings stand against training."""
    from edgetune.data.checks.findings import counted
    from edgetune.errors import RequestError

    fatal = {grade: counts[grade] for grade in ("error", "warning") if counts.get(grade)}
    if not strict:
        fatal.pop("warning", None)
    if fatal:
        raise RequestError(
            f"The data has {counted(fatal)}.",
            "--strict makes warnings fatal." if "error" not in fatal else "",
        )
    if not usable:
        raise RequestError("The data has no usable row.")


data_files.register(app)
