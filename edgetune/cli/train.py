"""``edgetune train``: settings from file and flags, one call, a live display."""

import json
import signal
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edgetune import events

_DATA_HELP = (
    "Training rows: a file, a directory, a task file, - for standard input, or a Hugging Face "
    "dataset. Repeatable."
)
_TEMPLATE_HELP = (
    "Chat template: auto (the model's own, else plain), a built-in one (chatml, llama-3, …) or a "
    "Jinja file."
)


def command(
    model: Annotated[
        str | None,
        typer.Option(help="Base model: a directory, `nano` (embedded) or a Hugging Face name."),
    ] = None,
    data: Annotated[list[str] | None, typer.Option(help=_DATA_HELP)] = None,
    valid: Annotated[
        list[str] | None, typer.Option(help="Validation rows, likewise. Repeatable.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the rows.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps; overrides epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples per step.")] = None,
    max_length: Annotated[int | None, typer.Option(help="Longest example in tokens.")] = None,
    method: Annotated[str | None, typer.Option(help="How the weights learn: lora.")] = None,
    rank: Annotated[int | None, typer.Option(help="Rank of the adapter.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Fixes order, split and first values.")] = None,
    template: Annotated[str | None, typer.Option(help=_TEMPLATE_HELP)] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse data with warnings, not only with errors.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="Settings in a YAML file.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any setting: section.name=value. Repeatable."),
    ] = None,
    resume: Annotated[
        str | None, typer.Option(help="Go on with this run from its newest checkpoint.")
    ] = None,
    runs_dir: Annotated[Path | None, typer.Option(help="Folder of the runs.")] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the resolved settings and stop.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Tune a model on instructions.

    Settings come from --config, then from the flags, then from --set. Ctrl-C finishes the step,
    saves a checkpoint and exits with 130; --resume goes on from there.
    """
    from edgetune import config as settings
    from edgetune.errors import Interrupted, RequestError

    flags = {
        "model": model,
        "name": name,
        "seed": seed,
        "data.train": data or None,
        "data.valid": valid or None,
        "data.template": template,
        "data.strict": strict or None,
        "data.max_length": max_length,
        "adapter.method": method,
        "adapter.rank": rank,
        "train.epochs": epochs,
        "train.steps": steps,
        "train.batch_size": batch_size,
        "train.learning_rate": learning_rate,
    }
    given = {key: value for key, value in flags.items() if value is not None}
    chosen = None
    if resume is None or given or set_ or config:
        chosen = _resolve(resume, runs_dir, config, given, set_ or [])
    if print_config:
        if chosen is None:
            raise RequestError("--print-config needs settings, not only a run to resume.")
        print(settings.to_yaml(chosen, comments=True), end="")
        return
    if resume is None and chosen is not None:
        if not chosen.model:
            raise RequestError("No model is named.", "Give --model, for example --model nano.")
        if not chosen.data.train:
            raise RequestError("No data is named.", "Give --data FILE with rows to train on.")

    from edgetune import events
    from edgetune.cli.display import TrainDisplay
    from edgetune.train import train

    with TrainDisplay() as display, stop_on_signal() as stop:

        def show(event: events.Event) -> None:
            stop.follow(event)
            display.show(event)

        result = train(
            chosen, runs_dir=runs_dir, resume=resume, on_event=show, stop_requested=stop.requested
        )
    document: dict[str, Any] = {
        "run": str(result.run.path),
        "completed": result.completed,
        "step": result.step,
        "train_loss": result.train_loss,
        "first_validation_loss": result.first_validation_loss,
        "validation_loss": result.validation_loss,
        "adapter": str(result.run.adapter) if result.completed else None,
    }
    if json_:
        print(json.dumps(document, indent=1))
    elif result.completed:
        print(result.run.path)
    if not result.completed:
        raise Interrupted(
            f"Stopped after step {result.step}; a checkpoint is saved.",
            f"Go on with: edgetune train --resume {result.run.name}"
            + (f" --runs-dir {runs_dir}" if runs_dir else ""),
        )


def _resolve(
    resume: str | None,
    runs_dir: Path | None,
    config: Path | None,
    given: dict[str, Any],
    assignments: list[str],
) -> Any:
    from edgetune import paths, runs
    from edgetune.cli.settings import resolve

    before: dict[str, Any] = {}
    if resume is not None:
        before = runs.open_run(resume, paths.runs_dir(runs_dir)).config().model_dump()
    return resolve(config, given, assignments, before)


class stop_on_signal:
    """Within the block and while a run trains, the first SIGINT or SIGTERM is a request to stop;
    a second one, or one at any other time, ends at once."""

    def __enter__(self) -> "stop_on_signal":
        self._training = self._requested = False
        self._before = {
            number: signal.signal(number, self._handle)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def requested(self) -> bool:
        """Whether training should save and end."""
        return self._requested

    def follow(self, event: "events.Event") -> None:
        """Learn from a run's events whether it trains."""
        if event.event == "run_started":
            self._training = True
        elif event.event == "run_ended":
            self._training = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._requested or not self._training:
            raise KeyboardInterrupt
        self._requested = True

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
