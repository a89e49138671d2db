"""Modes, help, theme and home."""

import os
import sys
from pathlib import Path

import pytest
from textual.widgets import DataTable, Static

from edgetune import runs
from edgetune.tui.app import EdgetuneApp, _guarded_screen
from edgetune.tui.screens.help import HelpScreen
from edgetune.tui.services import preferences
from edgetune.tui.widgets.train_form import TrainForm

from .conftest import Wait


@pytest.mark.parametrize("size", [(80, 24), (50, 16)])
async def test_every_mode_opens_by_its_key(
    app: EdgetuneApp, trained: runs.Run, size: tuple[int, int]
) -> None:
    async with app.run_test(size=size) as pilot:
        for key, mode in (
            ("f3", "data"),
            ("f4", "train"),
            ("f5", "export"),
            ("f6", "chat"),
            ("f2", "home"),
        ):
            await pilot.press(key)
            assert app.current_mode == mode
            assert mode.capitalize() in app.screen.HELP  # type: ignore[attr-defined]


async def test_help_opens_and_closes_by_its_key(app: EdgetuneApp) -> None:
    async with app.run_test() as pilot:
        await pilot.press("f1")
        assert isinstance(app.screen, HelpScreen)
        await pilot.press("f1")
        assert not isinstance(app.screen, HelpScreen)


async def test_digits_are_text_where_text_is_edited(app: EdgetuneApp) -> None:
    async with app.run_test() as pilot:
        await pilot.press("3")
        assert app.current_mode == "train"
        await pilot.press("1")
        assert app.current_mode == "train"
        assert app.screen.query_one(TrainForm).value("model") == "1"


async def test_the_theme_is_remembered(app: EdgetuneApp) -> None:
    async with app.run_test() as pilot:
        assert app.current_theme.dark
        await pilot.press("f7")
        assert not app.current_theme.dark
    assert preferences.load().theme == "textual-light"
    again = EdgetuneApp(app.runs_dir)
    async with again.run_test():
        assert again.theme == "textual-light"


async def test_the_command_palette_leads_to_every_mode(app: EdgetuneApp, until: Wait) -> None:
    async with app.run_test() as pilot:
        await pilot.press("ctrl+p", *"go to chat")
        await pilot.pause(0.5)
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.current_mode == "chat")


async def test_home_says_what_to_do_first(app: EdgetuneApp, until: Wait) -> None:
    async with app.run_test() as pilot:
        hint = app.screen.query_one("#hint", Static)
        await until(pilot, lambda: "press n" in str(hint.content))


async def test_home_shows_a_run_and_its_changes(
    app: EdgetuneApp, trained: runs.Run, until: Wait
) -> None:
    async with app.run_test() as pilot:
        table = app.screen.query_one("#runs", DataTable)
        await until(pilot, lambda: table.row_count)
        shown = [str(cell) for cell in table.get_row_at(0)]
        assert shown[:6] == ["old", "completed", "2/2", "–", "1.5000", "–"]
        trained.export.mkdir()
        (trained.export / "old-Q8_0.gguf").write_bytes(b"GGUF")
        await until(pilot, lambda: str(table.get_row_at(0)[5]) == "1")


async def test_the_cursor_stays_on_its_run(
    app: EdgetuneApp, trained: runs.Run, until: Wait
) -> None:
    async with app.run_test() as pilot:
        table = app.screen.query_one("#runs", DataTable)
        await until(pilot, lambda: table.row_count == 1)
        runs.create("newer", trained.config(), trained.path.parent)
        await until(pilot, lambda: table.row_count == 2)
        assert str(table.get_row_at(table.cursor_row)[0]) == "old"


async def test_only_a_completed_run_is_exported_and_only_a_build_talks(
    app: EdgetuneApp, trained: runs.Run, until: Wait
) -> None:
    trained.events_file.write_text("", encoding="utf-8")
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.screen.query_one("#runs", DataTable).row_count)
        await pilot.press("e", "c")
        assert app.current_mode == "home"
        await until(pilot, lambda: len(app._notifications) == 2)


async def test_a_home_that_cannot_be_written_is_no_obstacle(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGETUNE_HOME", "/dev/null/home")
    app = EdgetuneApp(folder / "runs")
    async with app.run_test() as pilot:
        await pilot.press("f7")
        assert not app.current_theme.dark


def test_what_libraries_write_to_the_terminal_goes_to_a_file() -> None:
    before = sys.stderr
    with _guarded_screen():
        os.write(2, b"a library speaks")
        assert sys.stderr.fileno() != 2
    assert sys.stderr is before
    log = Path(os.environ["EDGETUNE_HOME"]) / "tui.log"
    assert log.read_bytes() == b"a library speaks"
