"""Training: a model and rows in, an adapter out, nothing lost on the way."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetune import config as settings
from edgetune import events, paths, runs
from edgetune.errors import EdgetuneError, RequestError, explain_os_error
from edgetune.train import preparation
from edgetune.train import resume as resuming

if TYPE_CHECKING:
    from edgetune.data.dataset import Dataset
    from edgetune.data.templates.rendering import ChatTemplate
    from edgetune.models import Loaded


@dataclass(frozen=True)
class TrainResult:
    """What a training run came to."""

    run: runs.Run
    completed: bool
    """False: stopped on request, with a checkpoint to go on from."""
    step: int
    train_loss: float | None
    """Loss of the last step taken here, in nats per trained token."""
    first_validation_loss: float | None
    validation_loss: float | None


def train(
    config: settings.RunConfig | dict[str, Any] | None = None,
    *,
    runs_dir: str | Path | None = None,
    resume: str | None = None,
    on_event: Callable[[events.Event], None] | None = None,
    stop_requested: Callable[[], bool] | None = None,
) -> TrainResult:
    """Train an adapter as ``config`` says (settings, or the same as nested dictionaries), or go
    on with the run ``resume``.

    Every event goes to the run's ``events.jsonl`` and then to ``on_event``. ``stop_requested``
    is asked after every step; when it says yes a checkpoint is saved and the result is not
    ``completed``. Resuming needs no ``config``; one that differs from the run's is refused.

    Raises RequestError, before anything is written, for wrong settings, data or model, for a name
    that is taken, and for a resume whose model, data or settings have changed; EdgetuneError for
    a loss that is no number and for a disk that is full (the last checkpoint stays valid).
    """
    if isinstance(config, dict):
        config = settings.build(config, "the call of train")
    folder = paths.runs_dir(runs_dir)
    run = runs.open_run(resume, folder) if resume else None
    if run is not None:
        config = resuming.settings_to_resume(run, config)
    elif config is None:
        raise RequestError("There is nothing to train.", "Give settings, or a run to resume.")
    config = resuming.absolute(config)
    preparation.check_writable_as_text(folder, config)
    if run is None and config.name:
        runs.check_free(config.name, folder)
    recorded = None if run is None else resuming.read_record(run)
    # Some chat templates write today's date: a resumed run goes on in the day it began.
    began = datetime.now() if recorded is None else datetime.fromisoformat(recorded["began"])

    from edgetune.data.dataset import prepare, refuse
    from edgetune.data.templates.builtin import choose_template
    from edgetune.models import load
    from edgetune.train import adapters, loss

    loaded = load(config.model)
    adapters.choose(loaded.model, config.adapter.targets)
    loss.gathered_head(loaded.model)
    template = choose_template(loaded.tokenizer, config.data, began)
    progress = preparation.Announced(on_event)
    data = config.data if recorded is None else resuming.pin(config.data, recorded)
    dataset = prepare(data, config.seed, loaded.tokenizer, template, now=began, progress=progress)
    refuse(dataset.findings, config.data)
    report = preparation.examine(config, dataset, template, run, progress)
    facts = resuming.record(config, loaded.path, dataset, began)
    if run is not None and recorded is not None:
        resuming.check_unchanged(run, recorded, facts)
    elif run is None:
        run = _create(config, folder)
    if recorded is None:
        paths.write_text(run.data_file, json.dumps(facts, indent=1, ensure_ascii=False))
    if not run.report_file.exists():
        paths.write_text(run.report_file, json.dumps(report, indent=1, ensure_ascii=False))
    with run.working():
        preparation.keep_validation(run, dataset)
        return _work(run, config, loaded, template, dataset, report, on_event, stop_requested)


def _work(
    run: runs.Run,
    config: settings.RunConfig,
    loaded: Loaded,
    template: ChatTemplate,
    dataset: Dataset,
    report: dict[str, Any],
    on_event: Callable[[events.Event], None] | None,
    stop_requested: Callable[[], bool] | None,
) -> TrainResult:
    from edgetune import device
    from edgetune.train import adapters, checkpoint, loop

    for place in (run.path, run.checkpoints):
        if place.exists():
            paths.remove_leftovers(place)
    resumed, notes = checkpoint.newest(run.checkpoints)
    names = adapters.create(loaded.model, config.adapter, config.seed)
    if resumed is not None:
        adapters.set_weights(loaded.model, resumed.adapter, str(resumed.path))
    plan = loop.make_plan(config, dataset)
    log = runs.EventLog(run.events_file)
    train_loss: float | None = None
    losses = [event.validation_loss for event in run.events() if event.event == "validation"]
    reason = "failed"

    def say(event: events.Event) -> None:
        log.append(event)
        if on_event is not None:
            on_event(event)

    step = resumed.state.step if resumed else 0
    try:
        say(
            events.DataReport(
                file=str(run.report_file),
                rows=report["rows"],
                usable=report["usable"],
                counts=report["counts"],
            )
        )
        say(
            events.RunStarted(
                run=str(run.path),
                model=config.model,
                first_step=step + 1,
                steps=plan.steps,
                examples=len(dataset.train),
                validation_examples=len(dataset.valid),
                trained_tokens_per_epoch=dataset.tokens_per_epoch()["trained_tokens"],
                trainable_parameters=sum(v.size for v in adapters.weights(loaded.model).values()),
                device=device.describe().name,
            )
        )
        if resumed is not None and step == plan.steps:
            notes.append("All steps of this run were taken before; only its end is written again.")
        for note in [*loaded.notes, *preparation.notes_on(dataset), *notes]:
            say(events.Note(message=note))
        requested = stop_requested or (lambda: False)
        for event in loop.run_steps(plan, loaded, resumed, run.checkpoints, requested):
            match event:
                case events.StepDone():
                    step, train_loss = event.step, event.train_loss
                case events.Validated():
                    losses.append(event.validation_loss)
                case events.RunEnded():
                    reason = event.reason
                    if reason == "completed":
                        save_adapter(run, config, loaded, template, names)
                case _:
                    pass
            say(event)
    except OSError as error:
        explained = explain_os_error(error, "writing a checkpoint or the record of the run")
        _say_failure(log, step, explained)
        raise explained from error
    except EdgetuneError as error:
        _say_failure(log, step, error)
        raise
    except KeyboardInterrupt:
        message = "stopped at once; the steps since the last checkpoint are taken again"
        _say_end(log, events.RunEnded(reason="interrupted", step=step, message=message))
        raise
    finally:
        log.close()
    return TrainResult(
        run=run,
        completed=reason == "completed",
        step=step,
        train_loss=train_loss,
        first_validation_loss=losses[0] if losses else None,
        validation_loss=losses[-1] if losses else None,
    )


def _say_failure(log: runs.EventLog, step: int, error: BaseException) -> None:
    message = str(error) or type(error).__name__
    _say_end(log, events.RunEnded(reason="failed", step=step, message=message))


def _say_end(log: runs.EventLog, end: events.RunEnded) -> None:
    with contextlib.suppress(OSError):  # a full disk cannot take the news either
        log.append(end)


def save_adapter(
    run: runs.Run,
    config: settings.RunConfig,
    loaded: Loaded,
    template: ChatTemplate,
    names: list[str],
) -> None:
    """Write the run's ``adapter/``: matrices, configuration, tokenizer files with the template."""
    from edgetune.models import copy_tokenizer
    from edgetune.train import adapters

    with paths.atomic_directory(run.adapter) as temporary:
        extra = {"base_model": config.model, "template": template.name}
        adapters.save(
            temporary,
            adapters.weights(loaded.model),
            config.adapter,
            names,
            len(loaded.model.layers),
            extra,
        )
        copy_tokenizer(loaded.tokenizer, temporary, template.source)


def _create(config: settings.RunConfig, folder: Path) -> runs.Run:
    """A new run, with a name of its own if the settings give it none."""
    if config.name:
        return runs.create(config.name, config, folder)
    made = _make_name(config.model)
    for number in count(1):
        name = made if number == 1 else f"{made}-{number}"
        if not (folder / name).exists():
            break
    return runs.create(name, config.model_copy(update={"name": name}), folder)


def _make_name(model: str) -> str:
    base = Path(model).name or "run"
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in base)
    return f"{safe.strip('._-')[:60] or 'run'}-{time.strftime('%Y%m%d-%H%M%S')}"
