"""The form, the live curve, stop and resume."""

from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from textual.widgets import ContentSwitcher, DataTable, Static

from edgetune import runs
from edgetune.tui.app import EdgetuneApp
from edgetune.tui.widgets.chart import LossChart
from edgetune.tui.widgets.run_view import RunView
from edgetune.tui.widgets.train_form import TrainForm

from .conftest import Wait


def form(app: EdgetuneApp) -> TrainForm:
    return app.screen.query_one(TrainForm)


def view(app: EdgetuneApp) -> RunView:
    return app.screen.query_one(RunView)


def shown(app: EdgetuneApp) -> str | None:
    return app.screen.query_one(ContentSwitcher).current


def complaint(app: EdgetuneApp) -> str:
    return str(app.screen.query_one("#problem", Static).content)


async def fill(pilot: Pilot[Any], *values: str | None) -> None:
    """Type into the fields, from the first; None leaves one as it is."""
    for value in values:
        if value is not None:
            await pilot.press("end", "ctrl+u", *value)
        await pilot.press("tab")


async def test_a_run_is_started_watched_stopped_and_resumed(app: EdgetuneApp, until: Wait) -> None:
    async with app.run_test() as pilot:
        await pilot.press("f4")
        await fill(pilot, "nano", "rows.jsonl", "", "first", "20")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: shown(app) == "run" and view(app).state == "running")
        chart = app.screen.query_one(LossChart)
        await until(pilot, lambda: chart.points[0] > 5 and chart.points[1] > 1)
        await pilot.press("s")
        assert view(app).state in ("stopping", "interrupted")
        assert "checkpoint saved" in str(app.screen.query_one("#run-message", Static).content)
        await until(pilot, lambda: view(app).state == "interrupted")
        stopped = view(app).progress.step
        assert chart.points[0] == stopped < 200
        await pilot.press("r")
        await until(pilot, lambda: view(app).state == "running")
        await until(pilot, lambda: view(app).state == "completed")
        assert chart.points[0] == 200
        started = view(app).progress.started
        assert started is not None
        assert started.first_step == stopped + 1
    assert runs.summarize(runs.Run(app.runs_dir / "first")).state == "completed"


async def test_what_is_wrong_with_the_data_is_said_while_it_trains(
    app: EdgetuneApp, until: Wait
) -> None:
    async with app.run_test() as pilot:
        await pilot.press("f4")
        await fill(pilot, "tiny", "rows.jsonl", "", "mine", "100")
        await pilot.press("ctrl+s")
        message = app.screen.query_one("#run-message", Static)
        await until(pilot, lambda: "The data: 3 warnings, 1 note" in str(message.content))


async def test_enter_walks_through_the_form_and_starts(app: EdgetuneApp, until: Wait) -> None:
    async with app.run_test() as pilot:
        await pilot.press("f4", "tab", "end", "ctrl+u", *"rows.jsonl")
        await pilot.press(*["enter"] * 9)
        await until(pilot, lambda: view(app).state == "completed")


async def test_wrong_settings_are_explained_before_anything_starts(app: EdgetuneApp) -> None:
    async with app.run_test() as pilot:
        await pilot.press("f4")
        await fill(pilot, None, "rows.jsonl", None, None, "-1", "many")
        await pilot.press("ctrl+s")
        await pilot.pause()
        assert shown(app) == "form"
        assert "train.epochs" in complaint(app)
        assert "train.batch_size" in complaint(app)
        assert not app.trainers


async def test_what_is_missing_is_asked_for(app: EdgetuneApp) -> None:
    async with app.run_test() as pilot:
        await pilot.press("f4")
        await fill(pilot, "")
        await pilot.press("ctrl+s")
        await pilot.pause()
        assert "No model is named" in complaint(app)


async def test_the_trainers_refusal_comes_back_to_the_form(
    app: EdgetuneApp, folder: Path, until: Wait
) -> None:
    (folder / "bad.jsonl").write_text("{", encoding="utf-8")
    async with app.run_test() as pilot:
        await pilot.press("f4")
        await fill(pilot, None, "bad.jsonl")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "line 3: this is not JSON" in complaint(app))
        assert shown(app) == "form"
        assert form(app).value("data.train") == "bad.jsonl"
        await pilot.press("tab", "end", "ctrl+u", *"rows.jsonl", "ctrl+s")
        await until(pilot, lambda: view(app).state == "completed")


async def test_a_taken_name_is_refused(app: EdgetuneApp, trained: runs.Run, until: Wait) -> None:
    async with app.run_test() as pilot:
        await pilot.press("f4")
        await fill(pilot, None, "rows.jsonl", None, "old")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "exists already" in complaint(app))


async def test_the_next_run_gets_a_name_of_its_own(app: EdgetuneApp) -> None:
    (app.runs_dir / "nano-1").mkdir(parents=True)
    async with app.run_test() as pilot:
        await pilot.press("f4")
        assert form(app).value("name") == "nano-2"


async def test_a_long_example_gets_a_micro_batch_it_fits_into(
    app: EdgetuneApp, until: Wait
) -> None:
    async with app.run_test() as pilot:
        await pilot.press("f4")
        await fill(pilot, None, "rows.jsonl", None, "long", "0.1", None, None, None, "8000")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: view(app).state == "completed")
    assert runs.Run(app.runs_dir / "long").config().train.micro_batch_tokens == 8000


async def test_another_ui_watches_the_run_and_stops_it(
    app: EdgetuneApp, stand_in: None, until: Wait
) -> None:
    async with app.run_test() as pilot:
        await pilot.press("f4")
        await fill(pilot, None, "rows.jsonl", None, "shared", "90")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: view(app).progress.step > 3)
    other = EdgetuneApp(app.runs_dir)
    async with other.run_test() as pilot:
        await until(pilot, lambda: other.screen.query_one("#runs", DataTable).row_count)
        await pilot.press("enter")
        await until(pilot, lambda: other.current_mode == "train")
        await until(pilot, lambda: view(other).state == "running")
        assert other.screen.query_one(LossChart).points[0] > 3
        await pilot.press("s")
        await until(pilot, lambda: view(other).state == "interrupted")


async def test_a_finished_run_is_replayed(app: EdgetuneApp, trained: runs.Run, until: Wait) -> None:
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.screen.query_one("#runs", DataTable).row_count)
        await pilot.press("enter")
        await until(pilot, lambda: app.current_mode == "train")
        await until(pilot, lambda: view(app).state == "completed")
        assert app.screen.query_one(LossChart).points == (0, 1)
        await pilot.press("s", "r")  # neither makes sense for a completed run
        assert view(app).state == "completed"


async def test_a_killed_trainer_is_reported_and_can_be_resumed(
    app: EdgetuneApp, until: Wait
) -> None:
    async with app.run_test() as pilot:
        await pilot.press("f4")
        await fill(pilot, None, "rows.jsonl", None, "killed", "9")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: view(app).progress.step > 3)
        app.trainers[(app.runs_dir / "killed").resolve()].process.kill()
        await until(pilot, lambda: view(app).state == "stopped")
        message = str(app.screen.query_one("#run-message", Static).content)
        assert "SIGKILL" in message
        await pilot.press("r")
        await until(pilot, lambda: view(app).state == "completed")


async def test_a_refused_resume_says_why(app: EdgetuneApp, trained: runs.Run, until: Wait) -> None:
    text = trained.events_file.read_text(encoding="utf-8")
    trained.events_file.write_text(text.replace("completed", "interrupted"), encoding="utf-8")
    (trained.path / "changed").touch()
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.screen.query_one("#runs", DataTable).row_count)
        await pilot.press("enter")
        await until(pilot, lambda: app.current_mode == "train")
        await until(pilot, lambda: view(app).state == "interrupted")
        await pilot.press("r")
        message = app.screen.query_one("#run-message", Static)
        await until(pilot, lambda: "its data changed. Put it back." in str(message.content))


async def test_a_trainer_is_heard_and_stopped_before_its_run_exists(
    app: EdgetuneApp, folder: Path, until: Wait
) -> None:
    (folder / "large.jsonl").touch()
    async with app.run_test() as pilot:
        await pilot.press("f4")
        await fill(pilot, None, "large.jsonl", None, "large")
        await pilot.press("ctrl+s")
        message = app.screen.query_one("#run-message", Static)
        await until(pilot, lambda: str(message.content) == "reading a large file")
        assert view(app).state == "starting"
        app.trainers[(app.runs_dir / "large").resolve()].process.terminate()
        await until(pilot, lambda: shown(app) == "form")
        assert "SIGTERM" in complaint(app)


async def test_the_chart_averages_what_does_not_fit(app: EdgetuneApp) -> None:
    async with app.run_test() as pilot:
        await pilot.press("f4")
        chart = app.screen.query_one(LossChart)
        chart.add(dict.fromkeys(range(1, 20001), 1.0), {})
        assert chart.points == (20_000, 0)
        drawn = chart.plt.build()
        assert isinstance(drawn, str)
