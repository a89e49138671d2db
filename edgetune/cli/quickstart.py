"""``edgetune quickstart``: tune, compare, export, verify, chat."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgetune.quickstart import QuickstartResult


def command(
    model: Annotated[str | None, typer.Option(help="Another base model.")] = None,
    data: Annotated[
        list[str] | None, typer.Option(help="Other rows, for --model. Repeatable.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the run.")] = "quickstart",
    runs_dir: Annotated[Path | None, typer.Option(help="Folder of the runs.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """The whole way in a minute or two, with no network: tune the embedded model on the embedded
    instructions, compare it with its base, export it, verify the files, and chat with one."""
    from edgetune import events
    from edgetune.cli.display import Steps, TrainDisplay
    from edgetune.cli.train import stop_on_signal
    from edgetune.errors import EdgetuneError, Interrupted
    from edgetune.quickstart import quickstart

    steps = Steps()
    with TrainDisplay() as display, stop_on_signal() as stop:

        def show(event: events.Event) -> None:
            stop.follow(event)
            if stop.requested() and isinstance(event, events.Progress):
                raise KeyboardInterrupt  # it came too late to stop the training
            if isinstance(event, events.Progress):
                steps.show(event)
            else:
                steps.close()
                display.show(event)

        try:
            result = quickstart(
                model=model,
                data=data,
                name=name,
                runs_dir=runs_dir,
                on_event=show,
                stop_requested=stop.requested,
            )
        finally:
            steps.close()
    if result is None:
        raise Interrupted(
            "Stopped; a checkpoint is saved.",
            f"Go on with: edgetune train --resume {name}"
            + (f" --runs-dir {runs_dir}" if runs_dir else ""),
        )
    if json_:
        print(json.dumps(result.summary, indent=1, ensure_ascii=False))
    else:
        _show(result)
    if not result.exported.verified:
        raise EdgetuneError(
            "A build failed verification.", f"See {result.run.export / 'report.md'}."
        )
    if not json_:
        _talk(result)


def _show(result: "QuickstartResult") -> None:
    from rich.table import Table
    from rich.text import Text

    from edgetune.cli.tables import console, print_exports

    out = console()
    out.print()
    examples = Table(box=None, pad_edge=False, header_style="bold")
    for column, width in (("held-out instruction", 40), ("base model", 24), ("tuned model", 12)):
        examples.add_column(column, overflow="ellipsis", no_wrap=True, width=width)
    for name, score in result.tuned.items():
        shown: set[str] = set()
        for index, item in enumerate(score.graded):
            kind = item.task or item.prompt  # rows without tasks are each of their own kind
            if kind in shown or len(shown) >= 3:
                continue
            shown.add(kind)
            before = result.base[name].graded[index].answer
            examples.add_row(
                Text(" ".join(item.prompt.split())),
                Text(" ".join(before.split()), style="dim"),
                Text(" ".join(item.answer.split()), style="green" if item.correct else "red"),
            )
    out.print(examples)
    out.print()
    scores = Table(box=None, pad_edge=False, header_style="bold")
    scores.add_column("exact answers on held-out")
    for column in ("rows", "base", "tuned"):
        scores.add_column(column, justify="right")
    for name, score in result.tuned.items():
        base = result.base[name].exact_match
        scores.add_row(name, str(score.rows), f"{base:.3f}", f"{score.exact_match:.3f}")
    out.print(scores)
    training = result.summary["training"]
    if training["validation_loss"] is not None:
        before, after = training["first_validation_loss"], training["validation_loss"]
        out.print(f"validation loss per trained token: {before:.3f} before, {after:.3f} after")
    if "cloze" in result.summary["base"]:
        known = result.summary["base"]["cloze"]
        out.print(
            f"(The base continues {known['exact_match']:.1%} of {known['rows']} sentences about "
            "the same facts correctly: it knows them, but does not follow instructions.)",
            style="dim",
        )
    out.print()
    print_exports(result.exported.verifications)
    for build in result.summary["exports"]:
        name = next(iter(result.tuned))
        if name in build:
            out.print(f"{build['type']} answers {build[name]['exact_match']:.3f} of {name} exactly")
    out.print(f"\n{result.summary['seconds']:.0f} s; {result.run.path / 'summary.json'}")


def _talk(result: "QuickstartResult") -> None:
    """Open the chat in a terminal; elsewhere answer five held-out prompts."""
    from edgetune.serve.engine import Sampling, load

    first = result.exported.verifications[0]
    file = result.run.export / Path(first.file).name
    print(f"\nedgetune chat {file}\n")
    with load(file) as engine:
        if sys.stdin.isatty() and sys.stdout.isatty():
            from edgetune.serve.repl import chat

            print("\n".join(["Held-out instructions to try:", *result.prompts(3)]))
            chat(engine, Sampling(temperature=0.0))
            return
        for prompt in result.prompts(5):
            answer = engine.complete(
                [{"role": "user", "content": prompt}], Sampling(temperature=0.0, max_tokens=128)
            )
            print(f"> {prompt}\n{answer.text}")
