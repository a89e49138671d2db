"""The report on instruction data (``edgetune.data.report``) as text for a terminal or a pipe."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from edgetune.data.checks.findings import (
    by_kind,
    counted,
    heading,
    place,
    short_names,
    shortened,
    spoken,
    visible,
)

WIDTH = 80
"""Columns where no terminal says how many there are."""
_WIDEST = 110
_SHOWN = 3
"""Findings shown of each kind, unless all are wanted."""
_SHOWN_PARTS = 12
STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
"""By the grade of a finding."""
_EIGHTHS = " ▏▎▍▌▋▊▉"


def print_report(report: dict[str, Any], everything: bool = False) -> None:
    """The report on stdout, as wide as the terminal."""
    from edgetune.cli.tables import console

    out = console()
    width = out.width if out.is_terminal else WIDTH
    ascii_only = not out.encoding.lower().startswith("utf")
    out.print(render(report, width, everything, ascii_only))


def render(
    report: dict[str, Any], width: int = WIDTH, everything: bool = False, ascii_only: bool = False
) -> RenderableType:
    """The whole report, drawn for ``width`` columns; with ``everything`` no list is shortened."""
    width = min(width, _WIDEST)
    most = None if everything else _SHOWN_PARTS
    parts: list[RenderableType] = [_files(report), Text(), _facts(report)]
    for name in ("tasks", "sources"):
        parts_of = report.get(name) or []
        shown = [part for part in parts_of if name == "tasks" or part["part"] == "train"]
        if len({part[name.removesuffix("s")] for part in shown}) > 1:
            parts += [Text(), _shares(name, report, width, most, ascii_only)]
    lengths = report.get("lengths") or {}
    if lengths.get("row", {}).get("max"):
        parts += [Text(), _quantiles(lengths), Text(), *_histograms(lengths, width, ascii_only)]
    parts += [Text(), *findings(report, everything)]
    return Group(*parts)


def findings(report: dict[str, Any], everything: bool = False) -> Iterable[RenderableType]:
    """How many findings there are, and of each kind the first."""
    names = _names(report)
    yield Text.assemble(("Findings", "bold"), f"  {counted(report['counts'])}")

    for group in by_kind(report["findings"]):
        grade = group[0]["grade"]
        title = Text.assemble((f"{grade:<7}", STYLES[grade]), f" {heading(group)}")
        yield title
        shown = group if everything else group[:_SHOWN]
        for item in shown:
            yield _indented(finding(shortened(item, names)), 4)
        if len(group) > len(shown):
            yield Text(f"    and {len(group) - len(shown):,} more", "dim")


def finding(item: dict[str, Any]) -> Text:
    """One finding: where and what."""
    text = Text(visible(place(item)), "bold")
    message = visible(item["message"])
    text.append(f": {message}" if text else message, "not bold")
    related = visible(item.get("related") or "")
    if related and related not in message:
        text.append(f" ({related})", "not bold dim")
    return text


def brief(report: dict[str, Any], most: int = 5) -> list[tuple[Text, Text]]:
    """What matters before a training starts, in a few lines: what each is about, and the line."""
    lines = [
        (Text("data", "bold"), Text(visible("; ".join(_brief_facts(report))))),
        (Text("findings", "bold"), Text(counted(report["counts"]))),
    ]
    names = _names(report)
    groups = [group for group in by_kind(report["findings"]) if group[0]["grade"] != "note"]
    for group in groups[:most]:
        grade, slug = group[0]["grade"], group[0]["kind"]
        text = finding(shortened(group[0], names))
        if len(group) > 1:
            text.append(f"; {len(group):,} such findings ({slug})", "not bold dim")
        lines.append((Text(f"  {grade}", STYLES[grade]), text))
    if len(groups) > most:
        lines.append((Text(), Text(f"and {len(groups) - most} more kinds of findings", "dim")))
    return lines


def _brief_facts(report: dict[str, Any]) -> list[str]:
    parts = report["parts"]
    train, valid = parts.get("train", {}), parts.get("valid", {})
    formats = _formats_of(report["files"])
    said = [f"{train.get('rows', 0):,} rows to train on ({formats})"]
    said.append(f"{valid.get('rows', 0):,} for validation")
    if "tokens" in train:
        said.append(f"{train['trained_tokens']:,} of {train['tokens']:,} tokens trained")
    if left_out := report["rows"] - report["usable"]:
        said.append(f"{left_out:,} left out")
    limit = report.get("limit") or {}
    if limit.get("over"):
        said.append(f"{limit['over']:,} over {limit['max_length']:,} tokens")
    return said


def _formats_of(files: Sequence[dict[str, Any]]) -> str:
    return ", ".join(dict.fromkeys(name for file in files for name in file["formats"]))


def _indented(text: Text, columns: int) -> RenderableType:
    return Padding(text, (0, 0, 0, columns), expand=False)


def _names(report: dict[str, Any]) -> dict[str, str]:
    return short_names(file["file"] for file in report["files"])


def _files(report: dict[str, Any]) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("rows", justify="right", no_wrap=True)
    table.add_column("readable", justify="right", no_wrap=True)
    table.add_column("format", overflow="fold", max_width=24)
    table.add_column("file", overflow="fold")
    below = []
    names = _names(report)
    for file in report["files"]:
        short = names[file["file"]]
        formats = file["formats"]
        name = Text(visible(spoken(file["file"])))
        if file["use"] == "valid":
            name.append("  validation", "dim")
        table.add_row(
            f"{file['rows']:,}",
            f"{file['rows'] - file['left_out']:,}",
            Text(next(iter(formats)) if len(formats) == 1 else _by_count(formats) or "–"),
            name,
        )
        for kind, lines in (file.get("ranges") or {}).items():
            below.append(f"{short}: {kind} in lines {lines}")
        if file.get("ignored_keys"):
            keys = ", ".join(file["ignored_keys"])
            below.append(f"{short}: not used: {keys}")
    return Group(table, *(_indented(Text(visible(line), "dim"), 2) for line in below))


def _facts(report: dict[str, Any]) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="bold", min_width=10)
    grid.add_column(overflow="fold")
    for name, value in (
        ("Rows", _rows(report)),
        ("Tokens", _tokens(report)),
        ("Limit", _limit(report)),
        ("Plan", _plan(report)),
        ("Messages", _messages(report)),
        ("Turns", _turns(report)),
        ("Repeats", _repeats(report)),
        ("Languages", _languages(report)),
        ("Characters", _characters(report)),
        ("Verbs", _verbs(report)),
        ("Openings", _openings(report)),
        ("Vocabulary", _vocabulary(report)),
    ):
        if value:
            grid.add_row(name, Text(visible(value)))
    return grid


def _rows(report: dict[str, Any]) -> str:
    parts = report["parts"]
    said = f"{report['usable']:,} of {report['rows']:,} usable"
    if valid := parts.get("valid", {}).get("rows"):
        said += f": {parts['train']['rows']:,} to train on, {valid:,} for validation"
    return said


def _tokens(report: dict[str, Any]) -> str:
    parts = [part for part in report["parts"].values() if "tokens" in part]
    if not parts:
        return ""
    total = sum(part["tokens"] for part in parts)
    trained = sum(part["trained_tokens"] for part in parts)
    said = f"{total:,}, of them {trained:,} trained ({_percent(trained, total)})"
    if model := report.get("model"):
        said += f"; {model['name']}, {model['template']} template"
    return said


def _limit(report: dict[str, Any]) -> str:
    limit = report.get("limit")
    if not limit:
        return ""
    if not limit["over"]:
        return f"no row is longer than {limit['max_length']:,} tokens"
    one = limit["over"] == 1
    return (
        f"{limit['over']:,} {'row is' if one else 'rows are'} longer than "
        f"{limit['max_length']:,} tokens; cut there, {limit['lose_answer']:,} would lose part of "
        "an answer"
    )


def _plan(report: dict[str, Any]) -> str:
    plan = report.get("plan")
    if not plan:
        return ""
    said = f"{_number(plan['steps'], 'step')} of {_number(plan['batch_size'], 'row')}"
    said += f" ({plan['epochs']:g} epochs of {_number(plan['steps_per_epoch'], 'step')})"
    return f"{said}: {plan['trained_tokens']:,} trained tokens"


def _messages(report: dict[str, Any]) -> str:
    said = [f"{role} {number:,}" for role, number in report["roles"].items() if number]
    extras = [
        f"{name.replace('_', ' ')} {number:,}"
        for name, number in report["with"].items()
        if number and name != "system"
    ]
    parts = [", ".join(said), f"rows with {', '.join(extras)}" if extras else ""]
    return "; ".join(part for part in parts if part)


def _turns(report: dict[str, Any]) -> str:
    turns = {int(turns): rows for turns, rows in report["turns"].items()}
    if not turns:
        return ""
    said = [f"{number} in {_number(turns[number], 'row')}" for number in sorted(turns)]
    return ", ".join(said[:5]) + (f", … up to {max(turns):,}" if len(said) > 5 else "")


def _repeats(report: dict[str, Any]) -> str:
    found = report["duplicates"]
    said = f"{found['exact']:,} exact, {found['near']:,} near"
    if report["parts"].get("valid", {}).get("rows"):
        said += (
            f"; of the validation rows {found['leaks']:,} are trained on, "
            f"{found['near_leaks']:,} nearly"
        )
    return said


def _languages(report: dict[str, Any]) -> str:
    languages = report.get("languages") or {}
    found = languages.get("found") or []
    common = [item for item in found[:6] if item["share"] >= 0.01]
    said = ", ".join(f"{item['language']} {item['share']:.0%}" for item in common)
    if len(found) > len(common):
        said += f" and {len(found) - len(common)} more"
    return f"{said} (of {_number(languages['sampled'], 'row')} looked at)" if found else ""


def _characters(report: dict[str, Any]) -> str:
    odd = report.get("odd_characters") or []
    names = _names(report) if len(report["files"]) > 1 else {}
    said = []
    for item in odd:
        file = names.get(item.get("example_file", ""), "")
        first = place({"file": file, "line": item["example_line"]})
        said.append(f"{item['kind']} in {_number(item['rows'], 'row')} (first in {first})")
    return "; ".join(said)


def _number(number: int, of: str) -> str:
    return f"{number:,} {of}{'' if number == 1 else 's'}"


def _verbs(report: dict[str, Any]) -> str:
    diversity = report.get("diversity") or {}
    verbs = diversity.get("root_verbs") or []
    if not verbs:
        return ""
    said = ", ".join(f"{item['verb']} {item['share']:.0%}" for item in verbs[:6])
    number = diversity["distinct_root_verbs"]
    return f"{_number(number, 'root verb')} in requests, the commonest {said}"


def _openings(report: dict[str, Any]) -> str:
    diversity = report.get("diversity") or {}
    openings = diversity.get("openings") or []
    if not openings:
        return ""
    said = ", ".join(f"“{item['text']}” {item['share']:.0%}" for item in openings[:3])
    return f"the ten commonest begin {diversity['top10_openings_share']:.0%} of the rows: {said}"


def _vocabulary(report: dict[str, Any]) -> str:
    diversity = report.get("diversity") or {}
    names = {"type_token_ratio": "type/token ratio", "distinct_2": "distinct word pairs"}
    said = [f"{name} {diversity[key]:.2f}" for key, name in names.items() if diversity.get(key)]
    if said and diversity.get("question_share") is not None:
        said.append(f"{diversity['question_share']:.0%} of the requests are questions")
    return ", ".join(said)


def _shares(
    name: str, report: dict[str, Any], width: int, most: int | None, ascii_only: bool
) -> RenderableType:
    parts, names = report[name], _names(report) if name == "sources" else {}
    counts_tokens = any("trained_tokens" in part for part in parts)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(name, overflow="fold", max_width=max(16, width - 52))
    table.add_column("rows", justify="right", no_wrap=True)
    if counts_tokens:
        table.add_column("trained tokens", justify="right", no_wrap=True)
    table.add_column("share of an epoch", no_wrap=True)
    ordered = sorted(parts, key=lambda part: (part["part"] == "valid", -part["share"]))
    for part in ordered[:most]:
        held_out = part["part"] == "valid"
        title = part[name.removesuffix("s")]
        title = Text(visible(names.get(title, title)) or "(none)")
        if held_out:
            title.append("  validation", "dim")
        cells: list[Any] = [title, f"{part['rows']:,}"]
        if counts_tokens:
            cells.append(f"{part.get('trained_tokens', 0):,}")
        share = Text("")
        if not held_out:
            share = Text(f"{part['share']:>6.1%} ").append(bar(part["share"], 12, ascii_only))
        table.add_row(*cells, share)
    if most is not None and len(ordered) > most:
        return Group(table, Text(f"and {len(ordered) - most:,} more", "dim"))
    return table


def _quantiles(lengths: dict[str, Any]) -> RenderableType:
    names = ("median", "p90", "p99", "max")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(f"lengths in {lengths['unit']}", min_width=22)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True, min_width=9)
    for part in ("prompt", "answer", "row"):
        figures = lengths.get(part)
        if figures and figures["max"]:
            table.add_row(part, *(f"{figures[name]:,}" for name in names))
    return table


def _histograms(lengths: dict[str, Any], width: int, ascii_only: bool) -> Iterable[RenderableType]:
    """Those of prompts and answers, side by side where there is room; of rows where there are
    neither, as in running text."""
    beside = width >= 72
    each = (width - 3) // 2 if beside else min(width, 60)
    names = [name for name in ("prompt", "answer") if lengths.get(name, {}).get("max")] or ["row"]
    drawn = [histogram(name, lengths[name]["histogram"], each, ascii_only) for name in names]
    if beside and len(drawn) == 2:
        grid = Table.grid(padding=(0, 3))
        grid.add_row(*drawn)
        yield grid
    else:
        for number, one in enumerate(drawn):
            yield from ([Text()] if number else [])
            yield one


def histogram(
    title: str, buckets: Sequence[dict[str, int]], width: int, ascii_only: bool = False
) -> Text:
    """A bar for each bucket, with its limits and its count; ``width`` columns in all."""
    labels = [_span(bucket, "-" if ascii_only else "–") for bucket in buckets]
    counts = [f"{bucket['count']:,}" for bucket in buckets]
    left, right = max(map(len, labels)), max(map(len, counts))
    most = max(bucket["count"] for bucket in buckets) or 1
    room = max(4, width - left - right - 2)
    lines = [Text(f"{title:>{left}}", "bold")]
    for bucket, label, number in zip(buckets, labels, counts, strict=True):
        drawn = bar(bucket["count"] / most, room, ascii_only)
        drawn.pad_right(room - drawn.cell_len)
        lines.append(Text.assemble((f"{label:>{left}} ", "dim"), drawn, f" {number:>{right}}"))
    return Text("\n").join(lines)


def _span(bucket: dict[str, int], dash: str) -> str:
    low, high = bucket["from"], bucket["to"]
    return f"{low:,}" if low == high else f"{low:,}{dash}{high:,}"


def bar(share: float, width: int, ascii_only: bool = False) -> Text:
    """A bar of ``share`` of ``width`` columns; what is not nothing is never drawn as nothing."""
    eighths = round(min(share, 1.0) * width * 8)
    if share > 0:
        eighths = max(eighths, 1)
    whole, rest = divmod(eighths, 8)
    if ascii_only:
        return Text("#" * max(whole + (rest >= 4), share > 0))
    return Text("█" * whole + (_EIGHTHS[rest] if rest else ""), "cyan")


def _by_count(formats: dict[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in formats.items())


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "–"
