"""Run llama.cpp in a process of its own.

llama.cpp ends the process it lives in when a file is bad enough (failed assertions, exceptions
through C). Whatever touches a GGUF with llama.cpp therefore runs as ``python -m`` in a child,
gets its request and leaves its answer as files in a folder, and may die.
"""

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REQUEST, ANSWER, STAGE, LOG = "request.json", "answer.json", "stage.txt", "log.txt"


@dataclass(frozen=True)
class Outcome:
    """How a child ended: its ``answer``, or None and ``failure``, a sentence saying why."""

    answer: dict[str, Any] | None
    failure: str = ""


def run(module: str, request: dict[str, Any], folder: Path) -> Outcome:
    """Run ``module`` on ``request`` in ``folder`` and wait for it."""
    (folder / REQUEST).write_text(json.dumps(request), encoding="utf-8")
    # llama.cpp talks on both outputs; -P keeps the working directory off the child's path,
    # where a file of the user's could shadow a module.
    with (folder / LOG).open("wb") as log:
        code = subprocess.run(
            [sys.executable, "-P", "-m", module, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        ).returncode
    answer = folder / ANSWER
    if code == 0 and answer.is_file():
        return Outcome(json.loads(answer.read_text(encoding="utf-8")))
    stage = folder / STAGE
    doing = stage.read_text(encoding="utf-8") if stage.is_file() else "starting"
    if code < 0:
        failure = f"llama.cpp crashed ({signal.Signals(-code).name}) while {doing}"
    else:
        failure = f"llama.cpp failed while {doing}"
    reason = _reason((folder / LOG).read_text(encoding="utf-8", errors="replace"))
    return Outcome(None, f"{failure}: {reason}" if reason else failure)


def _reason(log: str) -> str:
    """The line of a log that says most about why it ended."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    for mark in ("error loading model:", "GGML_ASSERT", "what():", "failed to quantize", "Error:"):
        for line in reversed(lines):
            if mark in line:
                return line[:300]
    return lines[-1][:300] if lines else ""


class Child:
    """The child's side: reads the request, names its stages, leaves the answer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.request: dict[str, Any] = json.loads((folder / REQUEST).read_text(encoding="utf-8"))

    def stage(self, doing: str) -> None:
        """Note what is being done, for the case that this process dies doing it."""
        (self.folder / STAGE).write_text(doing, encoding="utf-8")

    def answer(self, answer: dict[str, Any]) -> None:
        (self.folder / ANSWER).write_text(json.dumps(answer), encoding="utf-8")
