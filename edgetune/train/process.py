"""edgetune's own commands in processes of their own: started, followed, interrupted.

A trainer started here is the leader of its own session and writes to files alone, so it outlives
whoever started it. Nothing needs to be kept to find it again: its run directory says through its
lock that somebody works on it, and through ``events.jsonl`` what has happened.

No accelerator library is imported here.
"""

import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from edgetune import config as settings
from edgetune import events, paths, runs
from edgetune.errors import RequestError

PROGRAM: tuple[str, ...] = (sys.executable, "-P", "-m", "edgetune")
"""How the program is called; -P, so that a folder ``edgetune`` in the working directory, such as
a clone of the repository, is not taken for it."""


@dataclass
class Child:
    """A command that runs on its own and writes what it has to say to ``log``."""

    process: "subprocess.Popen[bytes]"
    log: Path
    leftovers: list[Path] = field(default_factory=list)
    """Files that only the child needed; removed once it has ended."""

    def status(self) -> int | None:
        """Exit status, negative for a signal, or None while it runs."""
        code = self.process.poll()
        if code is not None:
            for file in self.leftovers:
                file.unlink(missing_ok=True)
        return code

    def interrupt(self) -> None:
        """Ask it to stop, as Ctrl-C would."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def output(self) -> str:
        """What it has written so far, stdout and stderr in one."""
        try:
            return self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def last_line(self) -> str:
        """The newest line it wrote; a line redrawn with carriage returns counts as its last."""
        lines = self.output().replace("\r", "\n").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def complaint(self) -> str:
        """Why it ended badly, in its own words; empty if it ended well or still runs."""
        code = self.status()
        if not code:
            return ""
        _, marker, paragraph = self.output().rpartition("edgetune: ")
        if marker:
            return " ".join(paragraph.split())
        if code < 0:
            return f"The process was ended by {signal.Signals(-code).name}. Its output: {self.log}"
        return f"The process ended with status {code}. {self.last_line()} Its output: {self.log}"


def spawn(arguments: list[str], label: str, own_session: bool = True) -> Child:
    """Start ``edgetune ARGUMENTS`` with its output in a log file named after ``label``.

    With ``own_session`` it outlives this process and its terminal. Raises OSError if the system
    refuses to start it.
    """
    log = _file(f"{label}.log")
    # A new file, never the old one cut to nothing: another process may still be writing there.
    log.unlink(missing_ok=True)
    with log.open("xb") as handle:
        process = subprocess.Popen(
            [*PROGRAM, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=subprocess.STDOUT,
            start_new_session=own_session,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    return Child(process, log)


def start(config: settings.RunConfig, runs_dir: Path) -> tuple[runs.Run, Child]:
    """Start a trainer for ``config``; the run's directory appears once its data is found good.

    Raises RequestError for settings without a name and for a name that is taken.
    """
    if not config.name:
        raise RequestError("The run needs a name.", "It becomes a folder in the runs directory.")
    runs.check_free(config.name, runs_dir)
    request = _file(f"train-{config.name}.yaml")
    paths.write_text(request, settings.to_yaml(config))
    child = spawn(
        [
            "train",
            *("--config", str(request)),
            *("--runs-dir", str(runs_dir.resolve())),
            *("--name", config.name),
        ],
        f"train-{config.name}",
    )
    child.leftovers.append(request)
    return runs.Run(runs_dir / config.name), child


def resume(run: runs.Run) -> Child:
    """Start a trainer that goes on with ``run`` from its last checkpoint.

    Raises RequestError while another process works on it.
    """
    if run.process() is not None:
        raise RequestError(f"The run {run.name} is being worked on already.", "Watch it instead.")
    folder = run.path.resolve().parent
    return spawn(["train", "--resume", run.name, "--runs-dir", str(folder)], f"train-{run.name}")


def stop(run: runs.Run, child: Child | None = None) -> bool:
    """Ask whoever works on ``run`` to save a checkpoint and end; True if somebody was asked.

    ``child`` is the trainer if it was started here: it can be asked before it holds the run.
    """
    if child is not None and child.status() is None:
        child.interrupt()
        return True
    worker = run.process()
    if worker is None or worker <= 0:
        return False
    try:
        os.kill(worker, signal.SIGINT)
    except ProcessLookupError:
        return False
    return True


class Follower:
    """Reads the events of a run as they come, each once, whole lines only."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offset = 0

    def read(self) -> list[events.Event]:
        """The events since the last call, oldest first; none while the file does not exist."""
        try:
            with self._file.open("rb") as handle:
                if handle.seek(0, os.SEEK_END) < self._offset:
                    self._offset = 0  # another file took its place
                handle.seek(self._offset)
                data = handle.read()
        except FileNotFoundError:
            return []
        end = data.rfind(b"\n") + 1
        self._offset += end
        return list(events.read(data[:end].decode("utf-8", errors="replace")))


def _file(name: str) -> Path:
    for folder in (paths.home() / "logs", Path(tempfile.gettempdir()) / f"edgetune-{os.getuid()}"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue  # a home that cannot be written must not stop the work
        if os.access(folder, os.W_OK):
            return folder / name
    raise RequestError(
        f"There is no folder to write logs to: {paths.home()} cannot be written.",
        "Set EDGETUNE_HOME to a folder that you may write to.",
    )
