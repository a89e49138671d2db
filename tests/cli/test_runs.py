"""`edgetune runs` lists, shows and removes, and one damaged run does not hide the others."""

import fcntl
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from edgetune import events, runs
from edgetune.cli import main, tables
from edgetune.cli import runs as runs_command
from edgetune.config import DataConfig, RunConfig


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two runs: `done` has trained, `fresh` has not begun."""
    config = RunConfig(model="nano", data=DataConfig(train=["rows.jsonl"]))
    done = runs.create("done", config, tmp_path / "runs")
    runs.create("fresh", config, tmp_path / "runs")
    said = [
        events.RunStarted(
            run="done",
            model="nano",
            first_step=1,
            steps=2,
            examples=4,
            validation_examples=1,
            trained_tokens_per_epoch=9,
            trainable_parameters=1,
            device="CPU",
        ),
        events.DataReport(
            file="report.json", rows=9, usable=8, counts={"error": 0, "warning": 2, "note": 1}
        ),
        events.Validated(step=0, validation_loss=3.0, trained_tokens=4, best=True),
        events.Note(message="a [note] of the run"),
        events.StepDone(
            step=2,
            steps=2,
            epoch=1.0,
            train_loss=1.25,
            gradient_norm=1.0,
            learning_rate=1e-4,
            trained_tokens=9,
            trained_tokens_per_second=5.0,
            peak_memory_bytes=1,
            seconds_left=0.0,
        ),
        events.Validated(step=2, validation_loss=1.5, trained_tokens=4, best=True),
        events.RunEnded(reason="completed", step=2),
    ]
    done.events_file.write_text("".join(events.to_line(event) + "\n" for event in said))
    return tmp_path / "runs"


def run(folder: Path, *arguments: str) -> int:
    return main.run(["runs", *arguments, "--runs-dir", str(folder)])


def test_the_list_says_where_each_run_stands(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "list", "--json") == 0
    listed = {item["name"]: item for item in json.loads(capsys.readouterr().out)}
    assert listed["done"]["state"] == "completed"
    assert (listed["done"]["step"], listed["done"]["steps"]) == (2, 2)
    assert listed["done"]["validation_loss"] == 1.5
    assert listed["fresh"]["train_loss"] is None
    assert run(folder, "list") == 0
    assert "completed" in capsys.readouterr().out


def test_a_damaged_run_does_not_hide_the_others(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "fresh" / "config.yaml").write_text("model: [")
    assert run(folder, "list", "--json") == 0
    output = capsys.readouterr()
    assert [item["name"] for item in json.loads(output.out)] == ["done"]
    assert "fresh cannot be read" in output.err


def test_runs_of_other_folders_are_listed_on_request(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    assert run(elsewhere, "list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []
    assert run(elsewhere, "list", "--all", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 2


def test_a_run_is_shown_with_its_history(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "show", "done", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [item["validation_loss"] for item in document["validations"]] == [3.0, 1.5]
    assert document["config"]["model"] == "nano"
    assert document["notes"] == ["a [note] of the run"]
    assert document["findings"] == {"error": 0, "warning": 2, "note": 1}
    assert run(folder, "show", "done") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "completed, step 2 of 2" in text
    assert "a [note] of the run" in text
    assert "2 warnings, 1 note (" in text
    assert "before 3.0000 (step 0), best 1.5000 (step 2)" in text


def test_removing_needs_a_yes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "remove", "done") == 2
    assert "Add --yes" in capsys.readouterr().err
    assert run(folder, "remove", "done", "fresh", "--yes") == 0
    assert runs.find(folder) == []


def test_nothing_is_removed_if_one_name_is_wrong(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "remove", "done", "nothing", "--yes") == 2
    assert "There is no run `nothing`" in capsys.readouterr().err
    assert len(runs.find(folder)) == 2


def test_a_run_that_is_being_worked_on_stays(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = runs.open_run("done", folder)
    with done.working():
        assert run(folder, "remove", "done", "--yes") == 2
    assert "worked on" in capsys.readouterr().err
    assert done.path.exists()


def test_looking_at_a_run_does_not_make_it_look_busy(folder: Path) -> None:
    done = runs.Run(folder / "done")
    lock = done.path / "run.lock"
    lock.touch()
    with lock.open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)  # as another `runs list` does
        assert done.process() is None
    with done.working():
        assert done.process() == os.getpid()


def test_the_list_keeps_names_whole_in_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = runs.Summary(
        name="nano-first-try",
        path=Path("runs/nano-first-try"),
        model="nano",
        state="interrupted",
        step=1000,
        steps=3000,
        train_loss=1.25,
        validation_loss=1.5,
        exports=[],
        updated=0.0,
    )
    wide = Console(highlight=False, markup=False, emoji=False, width=80)
    monkeypatch.setattr(tables, "console", lambda: wide)
    runs_command._print_list([summary], folders=False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "nano-first-try" in lines[1]


def test_in_a_pipe_every_row_stays_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert run(folder, "list") == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
