"""The whole way in the terminal, with the real program and the keyboard alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.content import Content
from textual.widgets import DataTable, Input, OptionList, Select, Static

from edgetune import runs
from edgetune.tui.app import EdgetuneApp
from edgetune.tui.widgets.chart import LossChart
from edgetune.tui.widgets.chat_message import Answer
from edgetune.tui.widgets.run_view import RunView

from .conftest import Wait


@pytest.fixture
def real(nano: Path, folder: Path) -> Iterator[EdgetuneApp]:
    app = EdgetuneApp(folder / "runs")
    yield app
    for child in app.trainers.values():
        child.process.kill()
        child.process.wait()


@pytest.mark.slow
async def test_from_the_embedded_data_to_a_streamed_answer(real: EdgetuneApp, until: Wait) -> None:
    app = real
    async with app.run_test(size=(80, 24)) as pilot:
        models = app.screen.query_one("#models", DataTable)
        await until(pilot, lambda: models.row_count == 1)

        await pilot.press("f3")
        files = app.screen.query_one("#files", OptionList)
        await until(pilot, lambda: files.option_count and files.highlighted == 0)
        await pilot.press("enter")
        await until(
            pilot, lambda: app.screen.query_one("#path", Input).value.endswith("train.jsonl")
        )
        rows = app.screen.query_one("#text", Static)
        await until(pilot, lambda: "tokens trained" in str(rows.content))
        assert isinstance(rows.content, Content)
        assert any("success" in str(span.style) for span in rows.content.spans)

        await pilot.press("t")
        await until(pilot, lambda: app.current_mode == "train")
        await pilot.press("tab", "tab", "tab", "end", "ctrl+u", *"first")
        await pilot.press("tab", "end", "ctrl+u", *"0.03", "ctrl+s")
        view = app.screen.query_one(RunView)
        chart = app.screen.query_one(LossChart)
        await until(pilot, lambda: view.state in ("completed", "failed"), 300)
        assert view.state == "completed", str(app.screen.query_one("#run-message", Static).content)
        assert chart.points[0] == view.progress.steps == view.progress.step
        assert chart.points[1] > 1

        await pilot.press("e")
        await until(pilot, lambda: app.current_mode == "export")
        await until(pilot, lambda: not app.screen.query_one("#export-run", Select).is_blank())
        await pilot.press("ctrl+s")
        builds = app.screen.query_one("#builds", DataTable)
        await until(pilot, lambda: builds.row_count, 300)
        assert [str(cell) for cell in builds.get_row_at(0)[:2]] == ["Q8_0", "verified"]

        await until(pilot, lambda: app.focused is builds)
        await pilot.press("enter")
        await until(pilot, lambda: app.current_mode == "chat")
        status = app.screen.query_one("#chat-status", Static)
        await until(pilot, lambda: "is ready" in str(status.content), 120)
        await pilot.press(*"What is the colour of snow?", "enter")
        await until(pilot, lambda: "tokens of context used" in str(status.content), 120)
        answer = app.screen.query_one(Answer)
        assert answer.text.strip()
        assert "tokens" in str(answer.query_one(".figures", Static).content)
    run = runs.Run(app.runs_dir / "first")
    assert runs.summarize(run).state == "completed"
    assert [file.name for file in run.gguf_files()] == ["first-Q8_0.gguf"]
