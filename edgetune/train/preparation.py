"""What happens to a run's data before its first step: progress, the report, what is kept of it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetune import config as settings
from edgetune import events, paths, runs
from edgetune.errors import RequestError

if TYPE_CHECKING:
    from edgetune.data.dataset import Dataset
    from edgetune.data.templates.rendering import ChatTemplate

_SECONDS_BETWEEN = 1.0
# Between two events of progress: short work has none.


def check_writable_as_text(folder: Path, config: settings.RunConfig) -> None:
    """Raises RequestError for a path that the run's files, which are UTF-8, cannot name."""
    sources = [source.path for source in [*config.data.train, *config.data.valid]]
    for text in (str(folder), config.model, *sources):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise RequestError(
                f"The name of {text!a} is not UTF-8, so the run could not record it.", "Rename it."
            ) from None


class Announced:
    """Progress of the work before a run exists, as events, of which nobody needs many."""

    def __init__(self, on_event: Callable[[events.Event], None] | None) -> None:
        self._say = on_event
        self._last = time.monotonic()

    def __call__(self, stage: str, share: float) -> None:
        now = time.monotonic()
        if self._say is not None and now - self._last >= _SECONDS_BETWEEN:
            self._last = now
            self._say(events.Progress(stage=stage, done=round(share * 100), total=100))


def examine(
    config: settings.RunConfig,
    dataset: Dataset,
    template: ChatTemplate,
    run: runs.Run | None,
    progress: Callable[[str, float], None],
) -> dict[str, Any]:
    """The report on the data: the run's own if it has one, else a new one, which may say that
    the data is not to be trained on (RequestError)."""
    from edgetune.data import run_report
    from edgetune.data.conversation import Finding
    from edgetune.data.dataset import refuse
    from edgetune.data.schedule import forecast

    if run is not None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            kept: dict[str, Any] = json.loads(run.report_file.read_text(encoding="utf-8"))
            if {"rows", "usable", "counts"} <= kept.keys():
                return kept
    model = {
        "name": config.model,
        "template": template.name,
        "max_length": config.data.max_length,
    }
    plan = forecast(config.train, dataset)
    report = run_report.examine(dataset, config.data, model=model, plan=plan, progress=progress)
    refuse([Finding(**item) for item in report["findings"]], config.data)
    return report


def notes_on(dataset: Dataset) -> list[str]:
    """What the user should know about the rows before the first step."""
    notes = [
        item.message[0].upper() + item.message[1:] + "."
        for item in dataset.findings
        if item.kind == "no-validation"
    ]
    if left_out := [item for item in dataset.findings if item.left_out]:
        rows = "row is" if len(left_out) == 1 else "rows are"
        notes.append(
            f"{len(left_out)} {rows} left out, all listed in data.json; the first is "
            f"{left_out[0].where}: {left_out[0].message}"
        )
    return notes


def keep_validation(run: runs.Run, dataset: Dataset) -> None:
    """Write the validation conversations beside the run, as chat JSONL."""
    if run.validation_sample.exists() or not dataset.valid:
        return
    from edgetune.data.parsing.chat_json import to_json

    with (
        paths.atomic_file(run.validation_sample) as temporary,
        temporary.open("w", encoding="utf-8") as handle,
    ):
        for conversation in dataset.valid.conversations():
            handle.write(json.dumps(to_json(conversation), ensure_ascii=False) + "\n")
