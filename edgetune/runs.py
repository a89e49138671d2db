"""A run directory: create it, open it, list them all.

Layout (see ``Run``): ``config.yaml data.json report.json events.jsonl checkpoints/ adapter/ eval/
export/``. While a process works on a run it holds ``run.lock``, an OS lock that vanishes with the
process, so two processes never write the same run and a crash never leaves one locked.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgetune import config as settings
from edgetune import events, paths
from edgetune.errors import RequestError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")


@dataclass(frozen=True)
class Run:
    """A run on disk, by its directory."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name or self.path.resolve().name  # the latter for `.`

    @property
    def config_file(self) -> Path:
        return self.path / "config.yaml"

    @property
    def data_file(self) -> Path:
        return self.path / "data.json"

    @property
    def report_file(self) -> Path:
        """The report on its data, as it began (see ``edgetune.data.report``)."""
        return self.path / "report.json"

    @property
    def events_file(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def adapter(self) -> Path:
        return self.path / "adapter"

    @property
    def eval(self) -> Path:
        return self.path / "eval"

    @property
    def validation_sample(self) -> Path:
        """Validation conversations as chat JSONL, kept so that a build can be verified when the
        data files are long gone."""
        return self.eval / "validation.jsonl"

    @property
    def export(self) -> Path:
        return self.path / "export"

    def config(self) -> settings.RunConfig:
        """The resolved configuration. Raises RequestError if it is missing or damaged."""
        return settings.build(settings.read_yaml(self.config_file), str(self.config_file))

    def events(self) -> list[events.Event]:
        """Everything the run has said so far, oldest first."""
        if not self.events_file.exists():
            return []
        text = self.events_file.read_text(encoding="utf-8", errors="replace")
        return list(events.read(text))

    def gguf_files(self) -> list[Path]:
        """The exported builds, newest last."""
        files = self.export.glob("*.gguf") if self.export.exists() else []
        return sorted(files, key=lambda file: (file.stat().st_mtime, file.name))

    def process(self) -> int | None:
        """Process id of whoever works on the run now, or None."""
        lock = self.path / "run.lock"
        if not lock.exists():
            return None
        with lock.open(encoding="utf-8") as handle:
            try:
                # Shared and only for reading: two who look are not in each other's way, and
                # another user's run can be looked at.
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = handle.read().strip()
                return int(text) if text.isdigit() else -1
        return None

    @contextmanager
    def working(self) -> Iterator[None]:
        """Hold the run for this process. Raises RequestError if another one has it."""
        lock = self.path / "run.lock"
        with lock.open("a+") as handle:
            if not _lock(handle.fileno()):
                raise RequestError(
                    f"Another process is working on the run {self.path}.",
                    "Wait for it to end or stop it first.",
                )
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
            yield


def _lock(descriptor: int) -> bool:
    # Whoever looks (``Run.process``) holds the lock for a moment: worth a second attempt.
    for attempt in range(5):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.02 * attempt)
    return False


class EventLog:
    """Appends events to a file, one line each, at once readable by others.

    A line cut short by a kill is removed first, so that it cannot merge with the next.
    """

    def __init__(self, file: Path) -> None:
        self._handle = file.open("ab+")
        self._handle.seek(0)
        data = self._handle.read()
        self._handle.truncate(data.rfind(b"\n") + 1)

    def append(self, event: events.Event) -> None:
        self._handle.write(events.to_line(event).encode() + b"\n")
        self._handle.flush()

    def close(self) -> None:
        # After a failed write the buffer may hold a rest that cannot be written either.
        with contextlib.suppress(OSError):
            self._handle.close()


@dataclass(frozen=True)
class Summary:
    """What a list of runs shows of one."""

    name: str
    path: Path
    model: str
    state: str
    """running, completed, interrupted, failed, or stopped (it ended without a word)."""
    step: int
    steps: int
    train_loss: float | None
    validation_loss: float | None
    exports: list[Path]
    updated: float
    """Seconds since the epoch."""


def check_name(name: str) -> None:
    """Raises RequestError unless ``name`` can be a folder name anywhere."""
    if not _NAME.match(name) or len(name) > 100:
        raise RequestError(
            f"`{name}` cannot be the name of a run.",
            "Use letters, digits, dots, dashes and underscores, beginning with a letter or digit.",
        )


def check_free(name: str, runs_dir: Path) -> None:
    """Raises RequestError unless a run of that name can be created."""
    check_name(name)
    if (runs_dir / name).exists():
        raise RequestError(
            f"A run named `{name}` exists already in {runs_dir}.",
            f"Choose another --name, go on with it (--resume {name}), or remove it "
            f"(edgetune runs remove {name}).",
        )


def create(name: str, config: settings.RunConfig, runs_dir: Path) -> Run:
    """A new run directory with its configuration. Raises RequestError if the name is taken."""
    check_free(name, runs_dir)
    path = runs_dir / name
    try:
        with paths.atomic_directory(path, replace=False) as temporary:
            (temporary / "config.yaml").write_text(settings.to_yaml(config), encoding="utf-8")
    except OSError:
        check_free(name, runs_dir)  # another process may have been faster
        raise
    _register(path)
    return Run(path)


def find_run(name_or_path: str, runs_dir: Path) -> Run | None:
    """The run of that name in ``runs_dir``, or at that path, or None."""
    for path in (runs_dir / name_or_path, Path(name_or_path)):
        if (path / "config.yaml").is_file():
            return Run(path)
    return None


def open_run(name_or_path: str, runs_dir: Path) -> Run:
    """As ``find_run``. Raises RequestError that names the runs there are."""
    run = find_run(name_or_path, runs_dir)
    if run is not None:
        return run
    known = ", ".join(run.name for run in find(runs_dir)) or "none"
    raise RequestError(f"There is no run `{name_or_path}` in {runs_dir}.", f"Runs there: {known}.")


def find(runs_dir: Path) -> list[Run]:
    """All runs in ``runs_dir``, by name."""
    if not runs_dir.is_dir():
        return []
    return [Run(file.parent) for file in sorted(runs_dir.glob("[!.]*/config.yaml"))]


def find_all(runs_dir: Path) -> list[Run]:
    """The runs in ``runs_dir`` and every other run on this machine that the index knows."""
    found = {run.path.resolve(): run for run in find(runs_dir)}
    for path in _registered():
        if (path / "config.yaml").is_file():
            found.setdefault(path.resolve(), Run(path))
    return list(found.values())


def summarize(run: Run) -> Summary:
    """Where a run stands, from its events."""
    state, step, steps = "stopped", 0, 0
    train_loss = validation_loss = None
    for event in run.events():
        match event:
            case events.RunStarted():
                state, step, steps = "stopped", event.first_step - 1, event.steps
            case events.StepDone():
                step, train_loss = event.step, event.train_loss
            case events.Validated():
                validation_loss = event.validation_loss
            case events.RunEnded():
                state, step = event.reason, event.step
            case _:
                pass
    if run.process() is not None:
        state = "running"
    newest = run.events_file if run.events_file.exists() else run.config_file
    return Summary(
        name=run.name,
        path=run.path,
        model=run.config().model,
        state=state,
        step=step,
        steps=steps,
        train_loss=train_loss,
        validation_loss=validation_loss,
        exports=run.gguf_files(),
        updated=newest.stat().st_mtime,
    )


def remove(run: Run) -> None:
    """Delete a run and all it holds. Raises RequestError while a process works on it."""
    if run.process() is not None:
        raise RequestError(f"The run {run.path} is being worked on.", "Stop it first.")
    shutil.rmtree(run.path)


def _index() -> Path:
    return paths.home() / "runs.json"


def _registered() -> list[Path]:
    try:
        return [Path(text) for text in json.loads(_index().read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return []


def _register(path: Path) -> None:
    # The index is a convenience: a home that cannot be written must not stop a run.
    try:
        known = [entry for entry in _registered() if entry.is_dir()]
        known.append(path.resolve())
        paths.write_text(_index(), json.dumps([str(entry) for entry in dict.fromkeys(known)]))
    except OSError:
        pass
