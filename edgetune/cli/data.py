"""``edgetune data``: look at instruction data before training on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgetune.data.formats import Conversation
    from edgetune.data.preview import Piece
    from edgetune.data.template import ChatTemplate
    from edgetune.data.tokenizer import Tokenizer

app = typer.Typer(help="Look at instruction data before training on it.", no_args_is_help=True)

_Template = Literal["auto", "plain"]
_TEMPLATE_HELP = "Chat template: the model's own if it has one (auto), or plain."
_MODEL_HELP = "Model whose tokens and chat template count: a directory, `nano`, or a hub name."
_SHOWN_DROPS = 10


@app.command("inspect")
def inspect_command(
    data: Annotated[list[Path], typer.Argument(help="Files with rows (JSON or JSONL).")],
    model: Annotated[str | None, typer.Option("--model", "-m", help=_MODEL_HELP)] = None,
    template: Annotated[_Template, typer.Option(help=_TEMPLATE_HELP)] = "auto",
    max_length: Annotated[
        int | None, typer.Option(min=8, help="Longest example in tokens.  [default: 1024]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say what data files hold and what is wrong with them."""
    from edgetune.config import DataConfig
    from edgetune.data.report import inspect, inspect_tokens

    report, conversations = inspect(data)
    if model is not None:
        tokenizer, chosen = _load(model, template)
        limit = max_length or DataConfig().max_length
        report["model"] = {"name": model} | inspect_tokens(conversations, tokenizer, chosen, limit)
    if as_json:
        print(json.dumps(report, ensure_ascii=False, indent=1))
    else:
        _print_report(report)


@app.command("show")
def show_command(
    data: Annotated[list[Path], typer.Argument(help="Files with rows (JSON or JSONL).")],
    model: Annotated[str, typer.Option("--model", "-m", help=_MODEL_HELP)],
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, help="How many rows.")] = 3,
    template: Annotated[_Template, typer.Option(help=_TEMPLATE_HELP)] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show what the model will see, with the tokens it learns in colour (or in ⟦ ⟧)."""
    from edgetune.data.formats import load

    tokenizer, chosen = _load(model, template)
    conversations = load(data).conversations[:rows]
    if as_json:
        shown = [_row_as_json(item, tokenizer, chosen) for item in conversations]
        document = {"model": model, "template": chosen.name, "rows": shown}
        print(json.dumps(document, ensure_ascii=False, indent=1))
    else:
        _print_rows(conversations, tokenizer, chosen)


def _load(model: str, choice: _Template) -> tuple[Tokenizer, ChatTemplate]:
    from edgetune.data.template import choose_template
    from edgetune.data.tokenizer import Tokenizer
    from edgetune.hub import resolve_model

    # Of a directory only the tokenizer is needed here, so weights need not be there.
    path = Path(model).expanduser()
    tokenizer = Tokenizer.from_directory(path if path.is_dir() else resolve_model(model))
    return tokenizer, choose_template(tokenizer, choice)


def _row_as_json(
    conversation: Conversation, tokenizer: Tokenizer, template: ChatTemplate
) -> dict[str, Any]:
    from dataclasses import asdict

    from edgetune.data.preview import preview
    from edgetune.data.template import RowProblem

    where = {"file": conversation.file, "line": conversation.line, "task": conversation.task}
    try:
        example, pieces = preview(conversation, tokenizer, template)
    except RowProblem as problem:
        return where | {"problem": problem.reason}
    return where | {
        "tokens": len(example.ids),
        "trained_tokens": int(example.trained.sum()),
        "pieces": [asdict(piece) for piece in pieces],
    }


def _print_rows(
    conversations: Sequence[Conversation], tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    from rich.text import Text

    from edgetune.cli.tables import console
    from edgetune.data.preview import preview
    from edgetune.data.template import RowProblem

    out = console()
    coloured = out.color_system is not None
    key = Text("trained", style=_style(True, False)) if coloured else Text("⟦trained⟧")
    out.print(
        Text(f"{template.name} template; ") + key + Text("; all else is only read"),
        soft_wrap=True,
    )
    for conversation in conversations:
        title = f"\n── {conversation.file}, line {conversation.line}"
        title += f" ({conversation.task})" if conversation.task else ""
        try:
            example, pieces = preview(conversation, tokenizer, template)
        except RowProblem as problem:
            out.print(Text(f"{title}: left out, since {problem.reason}"), soft_wrap=True)
            continue
        title += f": {len(example.ids)} tokens, {int(example.trained.sum())} trained"
        out.print(Text(title, style="dim"), soft_wrap=True)
        if coloured:
            text = Text.assemble(
                *((piece.text, _style(piece.trained, piece.special)) for piece in pieces)
            )
            out.print(text, soft_wrap=True)
        else:
            print(_marked(pieces))


def _style(trained: bool, special: bool) -> str:
    if special:
        return "bold green" if trained else "bold blue"
    return "green" if trained else ""


def _marked(pieces: Sequence[Piece]) -> str:
    text, inside = "", False
    for piece in pieces:
        if piece.trained != inside:
            text += "⟦" if piece.trained else "⟧"
            inside = piece.trained
        text += piece.text
    return text + ("⟧" if inside else "")


def _print_report(report: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    from edgetune.cli.tables import console

    out = console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("file", overflow="fold")
    table.add_column("format")
    table.add_column("rows", justify="right")
    for source in report["sources"]:
        table.add_row(Text(source["file"]), source["format"], str(source["rows"]))
    out.print(table)
    facts = [("usable rows", f"{report['usable']} of {report['rows']}")]
    if report["repeats"]:
        facts.append(
            (
                "exact repeats",
                f"{len(report['repeats'])}, the first in " + _repeat(report["repeats"][0]),
            )
        )
    if report["tasks"]:
        tasks = [f"{name or '(none)'} {number}" for name, number in report["tasks"].items()]
        facts.append(("tasks", ", ".join(tasks)))
    facts += [
        ("answers per row", _figures(report["answers_per_row"])),
        ("prompt characters", _figures(report["prompt_characters"])),
        ("answer characters", _figures(report["answer_characters"])),
    ]
    drops = list(report["drops"])
    if (model := report.get("model")) is not None:
        drops += model["drops"]
        facts += [
            ("model", f"{model['name']}, {model['template']} template"),
            ("trainable rows", f"{model['rows']} (max_length {model['max_length']})"),
            ("tokens", f"{model['tokens']:,}, of them {model['trained_tokens']:,} trained"),
            ("tokens per row", _figures(model["row_tokens"])),
            ("trained per row", _figures(model["row_trained_tokens"])),
        ]
    for source in report["sources"]:
        if source["ignored_keys"]:
            keys = ", ".join(source["ignored_keys"])
            facts.append(("keys not used", f"{keys} ({source['file']})"))
    print()
    for name, value in facts:
        print(f"{name:<18} {value}")
    if drops:
        print(f"\n{len(drops)} rows are left out:")
        for drop in drops[:_SHOWN_DROPS]:
            print(f"  {drop['file']}, line {drop['line']}: {drop['reason']}")
        if len(drops) > _SHOWN_DROPS:
            print(f"  and {len(drops) - _SHOWN_DROPS} more; --json lists all")


def _repeat(repeat: dict[str, Any]) -> str:
    first = repeat["same_as"]
    return f"{repeat['file']}, line {repeat['line']} (as {first['file']}, line {first['line']})"


def _figures(quantiles: dict[str, int]) -> str:
    return ", ".join(f"{name} {value:,}" for name, value in quantiles.items()) or "–"
