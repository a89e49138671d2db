"""Run directories: names, locks, events and what a list says of them."""

import subprocess
import sys
from pathlib import Path

import pytest

from edgetune import config as settings
from edgetune import events, runs
from edgetune.errors import RequestError


@pytest.fixture
def run(tmp_path: Path) -> runs.Run:
    return runs.create("first", settings.RunConfig(name="first", model="nano"), tmp_path)


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "a b", "-x", "x" * 101])
def test_names_that_are_no_folder_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError):
        runs.create(name, settings.RunConfig(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_taken_name_is_refused(run: runs.Run, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="--resume first"):
        runs.create("first", settings.RunConfig(), tmp_path)


def test_an_event_log_continues_after_a_line_cut_short(run: runs.Run) -> None:
    whole = events.to_line(events.Note(message="before"))
    run.events_file.write_text(whole + "\n" + whole[:10], encoding="utf-8")
    log = runs.EventLog(run.events_file)
    log.append(events.Note(message="after"))
    log.close()
    messages = [event.message for event in run.events() if event.event == "note"]
    assert messages == ["before", "after"]


def test_a_run_being_worked_on_is_locked_for_others_and_free_after_a_kill(run: runs.Run) -> None:
    code = (
        "import sys, time; from pathlib import Path; from edgetune import runs\n"
        "with runs.Run(Path(sys.argv[1])).working():\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(run.path)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        assert run.process() == child.pid
        with pytest.raises(RequestError, match="Another process"), run.working():
            pass
        with pytest.raises(RequestError):
            runs.remove(run)
        child.kill()
    assert run.process() is None
    runs.remove(run)
    assert not run.path.exists()


def test_a_summary_tells_where_a_run_stands(run: runs.Run) -> None:
    log = runs.EventLog(run.events_file)
    log.append(
        events.RunStarted(
            run="first", model="nano", first_step=1, steps=9, examples=1, validation_examples=1,
            trained_tokens_per_epoch=1, trainable_parameters=1, device="CPU",
        )
    )  # fmt: skip
    log.append(events.Validated(step=0, validation_loss=2.5, trained_tokens=1, best=True))
    summary = runs.summarize(run)
    assert (summary.state, summary.step, summary.steps) == ("stopped", 0, 9)
    assert summary.validation_loss == 2.5
    log.append(events.RunEnded(reason="completed", step=9))
    log.close()
    assert runs.summarize(run).state == "completed"


def test_runs_elsewhere_are_found_through_the_index(run: runs.Run, tmp_path: Path) -> None:
    elsewhere = tmp_path / "other"
    assert runs.find(elsewhere) == []
    assert [found.path.resolve() for found in runs.find_all(elsewhere)] == [run.path.resolve()]
