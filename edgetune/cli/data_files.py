"""``edgetune data split``, ``convert`` and ``mix``: instruction data into files of chat rows."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from edgetune.cli.data_options import DATA_HELP, Columns, Format, Json, System, Task, columns

if TYPE_CHECKING:
    from edgetune.config import SourceConfig
    from edgetune.data.conversation import Finding
    from edgetune.data.write import Collected

_SHOWN = 5
_SHOWN_SHARES = 20

Data = Annotated[list[str], typer.Argument(help=DATA_HELP)]
Group = Annotated[
    str | None, typer.Option(help="Key of the rows that names a group; it is kept as `group`.")
]
Seed = Annotated[int, typer.Option(min=0, help="Fixes what chance decides.")]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Leave out rows with errors instead of refusing.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``edgetune data``."""
    app.command("split")(split_command)
    app.command("convert")(convert_command)
    app.command("mix")(mix_command)


def split_command(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for train.jsonl and valid.jsonl.")],
    valid_fraction: Annotated[
        float | None, typer.Option(help="Share that is held out.  [default: 0.05]")
    ] = None,
    by: Annotated[
        Literal["row", "task", "group"] | None,
        typer.Option(help="What is held out: rows, or whole tasks or groups.  [default: row]"),
    ] = None,
    group: Group = None,
    valid_task: Annotated[
        list[str] | None, typer.Option(help="Hold out this task, whole. Repeatable.")
    ] = None,
    seed: Seed = 0,
    format_: Format = None,
    column: Columns = None,
    system: System = None,
    task: Task = None,
    skip_bad: SkipBad = False,
    force: Force = False,
    json_: Json = False,
) -> None:
    """Split data into training and validation rows.

    What is held out follows from a row's content (or its task or group) and the seed: equal rows
    never part, and when rows are added later the others stay on their side.
    """
    from edgetune.cli.display import Working
    from edgetune.config import DataConfig
    from edgetune.data import split
    from edgetune.data.conversation import Finding
    from edgetune.data.write import collect, write

    chosen = _split_by(by, group, valid_task, valid_fraction)
    fraction = DataConfig().valid_fraction if valid_fraction is None else valid_fraction
    files = {"train": out / "train.jsonl", "valid": out / "valid.jsonl"}
    _refuse_to_replace(list(files.values()), force, data)
    sources = _sources(data, format_, column, system, task)
    with Working() as working, collect(sources, out, seed, group or "", working.show) as rows:
        _refuse_bad(rows, skip_bad)
        valid = split.held_out(
            chosen,
            fraction,
            seed,
            digests=rows.digests,
            tasks=rows.tasks,
            groups=rows.groups,
            valid_tasks=valid_task or [],
        )
        for row, same in split.leaks(rows.digests, valid):
            message = "the row is for validation, and one with the same content is trained on"
            file, line = rows.place(same)
            rows.findings.append(
                Finding(
                    "warning", "leak", message, *rows.place(row), related=f"{file}, line {line}"
                )
            )
        numbers = write(
            {files["train"]: (~valid).nonzero()[0], files["valid"]: valid.nonzero()[0]},
            rows,
            working.show,
        )
    held = sorted({rows.tasks[row] for row in valid.nonzero()[0] if rows.tasks[row]})
    summary = _summary(rows) | {
        "written": [
            {"file": str(file), "rows": number}
            for file, number in zip(files.values(), numbers, strict=True)
        ],
        "by": chosen,
        "seed": seed,
    }
    if chosen == "task":
        summary["valid_tasks"] = held
    _report(summary, rows.findings, json_)


def _split_by(
    by: Literal["row", "task", "group"] | None,
    group: str | None,
    valid_task: list[str] | None,
    fraction: float | None,
) -> Literal["row", "task", "group"]:
    """What the flags together say that is held out. Raises RequestError where they differ."""
    from edgetune.errors import RequestError

    implied: Literal["row", "task", "group"] = "task" if valid_task else "group" if group else "row"
    if group and (valid_task or by not in (None, "group")):
        raise RequestError("`--group` only goes with a split by group.", "Leave one out.")
    if valid_task and by not in (None, "task"):
        raise RequestError("`--valid-task` only goes with a split by task.", "Leave one out.")
    if valid_task and fraction is not None:
        raise RequestError(
            "Tasks are held out by name or by fraction, not both.",
            "Leave out `--valid-task` or `--valid-fraction`.",
        )
    if by == "group" and not group:
        raise RequestError("A split by group needs the key that names it.", "Add --group KEY.")
    if fraction is not None and not 0 < fraction < 1:
        raise RequestError(f"`--valid-fraction` has to lie between 0 and 1, not be {fraction:g}.")
    return by or implied


def convert_command(
    data: Data,
    out: Annotated[
        str, typer.Option(help="File to write: .jsonl, .jsonl.gz or .jsonl.zst; - for stdout.")
    ],
    format_: Format = None,
    column: Columns = None,
    system: System = None,
    task: Task = None,
    group: Group = None,
    skip_bad: SkipBad = False,
    force: Force = False,
    json_: Json = False,
) -> None:
    """Write rows of any format as chat rows, one JSON object a line.

    Task files come out rendered. Converting what was converted gives the same bytes.
    """
    from edgetune.cli.display import Working
    from edgetune.data.write import collect, write, write_to
    from edgetune.errors import RequestError

    to_stdout = out == "-"
    if to_stdout and json_:
        raise RequestError(
            "`--out -` puts the rows on standard output, so `--json` has no place there.",
            "Leave one of them out.",
        )
    path = Path(out).expanduser()
    if not to_stdout:
        _refuse_to_replace([path], force, data)
    sources = _sources(data, format_, column, system, task)
    folder = None if to_stdout else path.parent
    with Working() as working, collect(sources, folder, 0, group or "", working.show) as rows:
        _refuse_bad(rows, skip_bad)
        everything = range(len(rows))
        if to_stdout:
            sys.stdout.flush()
            number = write_to(sys.stdout.buffer, rows, everything)
        else:
            [number] = write({path: everything}, rows, working.show)
    summary = _summary(rows) | {"written": [{"file": out, "rows": number}]}
    _report(summary, rows.findings, json_, quiet=to_stdout)


def mix_command(
    data: Annotated[
        list[str],
        typer.Argument(help=f"{DATA_HELP} With a weight: rows.jsonl=0.5 takes half of the rows."),
    ],
    out: Annotated[Path, typer.Option(help="File to write: .jsonl, .jsonl.gz or .jsonl.zst.")],
    rows: Annotated[
        int | None, typer.Option(min=1, help="How many rows to write.  [default: by the weights]")
    ] = None,
    method: Annotated[
        Literal["none", "proportional", "temperature", "equal"],
        typer.Option(help="How tasks (or sources) are balanced."),
    ] = "none",
    cap: Annotated[
        int | None, typer.Option(min=1, help="Most rows of one task (or source) that count.")
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(min=1, help="1 keeps the proportions, more evens them.  [default: 2]"),
    ] = None,
    by: Annotated[Literal["task", "source"], typer.Option(help="What is balanced.")] = "task",
    weight: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FACTOR: of a task (or source), on top. Repeatable."),
    ] = None,
    seed: Seed = 0,
    epoch: Annotated[int, typer.Option(min=0, help="Which epoch of such a training.")] = 0,
    format_: Format = None,
    column: Columns = None,
    system: System = None,
    task: Task = None,
    group: Group = None,
    skip_bad: SkipBad = False,
    force: Force = False,
    json_: Json = False,
) -> None:
    """Mix sources into one file, as an epoch of training would.

    proportional: by size, at most --cap rows each; temperature: by size to the power
    1 / temperature; equal: the same number of each.
    """
    import numpy as np

    from edgetune.cli.display import Working
    from edgetune.config import MixtureConfig
    from edgetune.data.mixture import Rows, mix
    from edgetune.data.write import collect, write
    from edgetune.errors import RequestError

    if temperature is not None and method != "temperature":
        raise RequestError("`--temperature` only goes with `--method temperature`.")
    weighed = [_with_weight(item) for item in data]
    _refuse_to_replace([out], force, [path for path, _ in weighed])
    sources = _sources([path for path, _ in weighed], format_, column, system, task)
    config = MixtureConfig(method=method, by=by, cap=cap, weights=_factors(weight))
    if temperature is not None:
        config.temperature = temperature
    with (
        Working() as working,
        collect(sources, out.parent, seed, group or "", working.show) as collected,
    ):
        _refuse_bad(collected, skip_bad)
        names = {name: number for number, name in enumerate(dict.fromkeys(collected.tasks))}
        of = Rows(
            np.array([names[name] for name in collected.tasks], dtype=np.int64),
            list(names),
            np.array(collected.sources, dtype=np.int64),
            [path for path, _ in weighed],
            [factor for _, factor in weighed],
        )
        mixture = mix(config, of, seed, rows)
        [number] = write({out: mixture.order(epoch)}, collected, working.show)
    summary = _summary(collected) | {
        "written": [{"file": str(out), "rows": number}],
        "seed": seed,
        "epoch": epoch,
        "shares": {"task": mixture.shares("task"), "source": mixture.shares("source")},
    }
    _report(summary, collected.findings, json_)


def _with_weight(item: str) -> tuple[str, float]:
    """A source and its weight, of ``path=weight``."""
    from edgetune.errors import RequestError

    path, separator, number = item.rpartition("=")
    if not separator or Path(item).expanduser().exists():
        return item, 1.0
    try:
        weight = float(number)
    except ValueError:
        return item, 1.0
    if not 0 < weight < float("inf"):
        raise RequestError(f"The weight of {path} has to be above 0, not {number}.")
    return path, weight


def _factors(assignments: list[str] | None) -> dict[str, float]:
    from edgetune.errors import RequestError

    factors = {}
    for assignment in assignments or []:
        name, _, number = assignment.rpartition("=")
        try:
            factors[name] = float(number)
        except ValueError:
            factors[name] = -1.0
        if not name or not 0 <= factors[name] < float("inf"):
            raise RequestError(
                f"`--weight {assignment}` is not of the form NAME=FACTOR, with a factor of 0 or "
                "more.",
                "Example: --weight translation=2",
            )
    return factors


def _sources(
    data: Sequence[str],
    format_: str | None,
    column: list[str] | None,
    system: str | None,
    task: str | None,
) -> list[SourceConfig]:
    """The sources that the flags describe alike. Raises RequestError."""
    from edgetune import config as settings

    about: dict[str, Any] = {}
    for name, value in (("format", format_), ("system", system), ("task", task)):
        if value:
            about[name] = value
    if column:
        about["columns"] = columns(column)
    built = settings.build(
        {"data": {"train": [{"path": path, **about} for path in data]}}, "the command line"
    )
    return built.data.train


def _refuse_to_replace(files: Sequence[Path], force: bool, data: Sequence[str]) -> None:
    """Raises RequestError for files that are not to be written: those that are there, those that
    are read, and those whose name says that something else than chat rows stands in them."""
    from edgetune.data.readers import kinds
    from edgetune.errors import RequestError

    read = [Path(item).expanduser().resolve() for item in data if item != "-"]
    for file in files:
        suffix = kinds.bare_suffix(file.name)
        if suffix in (*kinds.TABLE_NAMES, *kinds.PARQUET_NAMES, *kinds.TEXT_NAMES):
            raise RequestError(
                f"{file} is named as a `{suffix}` file, and what is written is JSON Lines.",
                f"Name it {Path(file.name.split('.')[0]).with_suffix('.jsonl')}, say.",
            )
        if file.is_dir():
            raise RequestError(f"{file} is a folder, not a file to write.")
        if file.exists() and any(one in (file.resolve(), *file.resolve().parents) for one in read):
            raise RequestError(
                f"{file} is one of the files that are read, and is not replaced.",
                "Give the new file another name.",
            )
        if file.exists() and not force:
            raise RequestError(f"{file} is there already.", "Add --force to replace it.")


def _refuse_bad(rows: Collected, skip_bad: bool) -> None:
    """Raises RequestError for rows with errors, unless they are to be left out, and if nothing
    is left."""
    from edgetune.data import reading
    from edgetune.data.checks.findings import place
    from edgetune.errors import RequestError

    errors = [finding for finding in rows.findings if finding.grade == "error"]
    if errors and not skip_bad:
        listed = [asdict(error) for error in errors[:_SHOWN]]
        shown = "; ".join(f"{place(error)}: {error['message']}" for error in listed)
        more = f"; and {len(errors) - _SHOWN} more such rows" if len(errors) > _SHOWN else ""
        raise RequestError(
            f"Nothing was written. {shown}{more}.",
            f"Correct or remove {'it' if len(errors) == 1 else 'them'}, or have such rows left "
            "out with --skip-bad.",
        )
    if not len(rows):
        raise reading.no_usable_rows(rows.findings)


def _summary(rows: Collected) -> dict[str, Any]:
    reasons = Counter(finding.kind for finding in rows.findings if finding.left_out)
    grades = Counter(finding.grade for finding in rows.findings)
    return {
        "files": [asdict(file) for file in rows.files],
        "rows": sum(file.rows for file in rows.files),
        "conversations": len(rows),
        "left_out": dict(reasons.most_common()),
        "counts": {grade: grades[grade] for grade in ("error", "warning", "note")},
    }


def _report(
    summary: dict[str, Any], findings: Sequence[Finding], as_json: bool, quiet: bool = False
) -> None:
    """Findings on stderr, what was done on stdout (on stderr with ``quiet``)."""
    listed = [asdict(finding) for finding in findings]
    if as_json:
        print(json.dumps(summary | {"findings": listed}, ensure_ascii=False, indent=1))
        return
    _print_findings(listed)
    to = sys.stderr if quiet else sys.stdout
    for written in summary["written"]:
        rows = written["rows"]
        print(f"{written['file']}: {rows:,} row{'' if rows == 1 else 's'}", file=to)
    if tasks := summary.get("valid_tasks"):
        print(f"held out: {', '.join(tasks)}", file=to)
    for kind in ("source", "task"):
        shares = summary.get("shares", {}).get(kind, {})
        ranked = sorted(shares.items(), key=lambda item: -item[1])
        if len(ranked) > 1:
            for name, share in ranked[:_SHOWN_SHARES]:
                print(f"  {share:6.1%}  {name or f'(no {kind})'}", file=to)
            if len(ranked) > _SHOWN_SHARES:
                print(f"  and {len(ranked) - _SHOWN_SHARES:,} more; --json lists all", file=to)
    if left_out := summary["left_out"]:
        reasons = ", ".join(f"{count:,} {kind}" for kind, count in left_out.items())
        print(f"left out: {reasons}", file=to)


def _print_findings(findings: list[dict[str, Any]]) -> None:
    """Of each kind how many there are and the first, on stderr."""
    from edgetune.data.checks.findings import by_kind, heading, place, visible

    for group in by_kind(findings):
        print(f"{group[0]['grade']}: {heading(group)}", file=sys.stderr)
        for item in group[:_SHOWN]:
            also = f" ({item['related']})" if item["related"] else ""
            print(visible(f"  {place(item)}: {item['message']}{also}"), file=sys.stderr)
        if len(group) > _SHOWN:
            print(f"  and {len(group) - _SHOWN:,} more; --json lists all", file=sys.stderr)
