"""The program replaced by a stand-in, and patience for what happens in other processes."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from edgetune import config as settings
from edgetune import runs
from edgetune.train import process
from edgetune.tui.app import EdgetuneApp

Wait = Callable[..., Awaitable[None]]
STAND_IN = Path(__file__).with_name("stand_in.py")


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The UI starts the stand-in instead of edgetune."""
    monkeypatch.setattr(process, "PROGRAM", (sys.executable, str(STAND_IN)))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with a data file in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text(
        '{"instruction": "Say red.", "input": "", "output": "red 🔴"}\n'
        '{"instruction": "Say blue.", "input": "", "output": "blue", "task": "colours"}\n',
        encoding="utf-8",
    )
    return tmp_path


@pytest.fixture
def app(folder: Path, stand_in: None) -> Iterator[EdgetuneApp]:
    """The UI on that folder; trainers that a test leaves behind are ended after it."""
    app = EdgetuneApp(folder / "runs")
    yield app
    for child in app.trainers.values():
        child.process.kill()
        child.process.wait()


@pytest.fixture
def until() -> Wait:
    """Wait until something is so, in a UI whose work happens elsewhere."""

    async def wait(pilot: Pilot[Any], holds: Callable[[], Any], seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while True:
            await pilot.pause()
            if holds():
                return
            if time.monotonic() > deadline:
                pytest.fail(f"it did not become so within {seconds} s")
            await asyncio.sleep(0.02)

    return wait


@pytest.fixture
def trained(folder: Path) -> runs.Run:
    """A completed run."""
    run = runs.create("old", settings.RunConfig(name="old", model="nano"), folder / "runs")
    run.adapter.mkdir()
    run.events_file.write_text(
        '{"event": "run_started", "run": "old", "model": "nano", "first_step": 1, "steps": 2,'
        ' "examples": 8, "validation_examples": 2, "trained_tokens_per_epoch": 80,'
        ' "trainable_parameters": 100, "device": "stand-in"}\n'
        '{"event": "validation", "step": 2, "validation_loss": 1.5, "trained_tokens": 9,'
        ' "best": true}\n'
        '{"event": "run_ended", "reason": "completed", "step": 2}\n',
        encoding="utf-8",
    )
    return run
