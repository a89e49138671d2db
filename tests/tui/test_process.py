"""Trainers are started, followed, stopped and outlive whoever started them."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgetune import config as settings
from edgetune import events, runs
from edgetune.errors import RequestError
from edgetune.train import process

from .conftest import STAND_IN


def eventually(holds: Callable[[], Any], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def request(folder: Path, **train: object) -> settings.RunConfig:
    return settings.RunConfig(
        name="new",
        model="nano",
        data=settings.DataConfig(train=[str(folder / "rows.jsonl")]),
        train=settings.TrainConfig.model_validate(train),
    )


def test_a_follower_sees_every_event_once(folder: Path, stand_in: None) -> None:
    run, child = process.start(request(folder, epochs=2), folder / "runs")
    follower = process.Follower(run.events_file)
    seen: list[events.Event] = []
    while child.status() is None:
        seen += follower.read()
    seen += follower.read()
    assert [e.step for e in seen if e.event == "step"] == list(range(1, 21))
    assert seen[-1].event == "run_ended"
    assert seen == run.events()
    assert child.complaint() == ""


def test_a_follower_waits_for_the_end_of_a_line(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    follower = process.Follower(file)
    assert follower.read() == []
    line = events.to_line(events.Note(message="whole ✓")).encode() + b"\n"
    cut = line.index("✓".encode()) + 1
    file.write_bytes(line[:cut])
    assert follower.read() == []
    with file.open("ab") as handle:
        handle.write(line[cut:])
    assert [note.message for note in follower.read()] == ["whole ✓"]  # type: ignore[union-attr]
    assert follower.read() == []


def test_a_stopped_run_saves_a_checkpoint_and_goes_on(folder: Path, stand_in: None) -> None:
    run, child = process.start(request(folder, epochs=10), folder / "runs")
    eventually(lambda: any(event.event == "step" for event in run.events()))
    assert process.stop(run)
    child.process.wait(30)
    assert child.complaint().startswith("Stopped after step")
    stopped = runs.summarize(run)
    assert stopped.state == "interrupted"
    again = process.resume(run)
    again.process.wait(30)
    started = [event for event in run.events() if event.event == "run_started"]
    assert started[-1].first_step == stopped.step + 1
    assert runs.summarize(run).state == "completed"


def test_nobody_is_stopped_where_nobody_works(trained: runs.Run) -> None:
    assert not process.stop(trained)


def test_a_trainer_outlives_whoever_started_it(folder: Path) -> None:
    code = f"""if True:
        import sys
        from pathlib import Path
        from edgetune import config
        from edgetune.train import process
        process.PROGRAM = (sys.executable, {str(STAND_IN)!r})
        settings = config.RunConfig(name="new", model="nano")
        settings.train.epochs = 8
        process.start(settings, Path({str(folder / "runs")!r}))
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20)
    run = runs.Run(folder / "runs" / "new")
    eventually(lambda: run.path.exists() and run.process() is not None)
    eventually(lambda: runs.summarize(run).state == "completed")
    assert runs.summarize(run).step == 80


def test_a_refusal_is_told_in_the_trainers_words(folder: Path, stand_in: None) -> None:
    config = request(folder)
    config.data.train = [settings.SourceConfig(path="nowhere.jsonl")]
    run, child = process.start(config, folder / "runs")
    child.process.wait(30)
    assert child.complaint() == "There is no file nowhere.jsonl. Name one that exists."
    assert not run.path.exists()


def test_a_process_that_is_killed_says_so(folder: Path, stand_in: None) -> None:
    _, child = process.start(request(folder, epochs=100), folder / "runs")
    child.process.kill()
    child.process.wait(30)
    assert "SIGKILL" in child.complaint()


def test_only_the_log_is_left_behind(folder: Path, stand_in: None) -> None:
    _, child = process.start(request(folder, epochs=0.1), folder / "runs")
    child.process.wait(30)
    assert child.status() == 0
    assert [file.name for file in child.log.parent.iterdir()] == ["train-new.log"]


@pytest.mark.parametrize("name", ["old", None, "../escape"])
def test_a_name_that_cannot_be_is_refused_at_once(
    folder: Path, stand_in: None, trained: runs.Run, name: str | None
) -> None:
    config = request(folder)
    config.name = name
    with pytest.raises(RequestError):
        process.start(config, folder / "runs")


def test_a_run_that_is_worked_on_is_not_resumed(trained: runs.Run, stand_in: None) -> None:
    with trained.working(), pytest.raises(RequestError, match="already"):
        process.resume(trained)
