"""Builds with their verdicts, and talking to one."""

from pathlib import Path
from typing import Any

from textual.events import Paste
from textual.pilot import Pilot
from textual.widgets import DataTable, Markdown, Select, Static

from edgetune import runs
from edgetune.tui.app import EdgetuneApp
from edgetune.tui.screens.chat import ChatScreen
from edgetune.tui.widgets.chat_message import Answer, Question
from edgetune.tui.widgets.prompt import Prompt

from .conftest import Wait


def gguf(run: runs.Run, name: str) -> Path:
    run.export.mkdir(exist_ok=True)
    file = run.export / name
    file.write_bytes(b"GGUF")
    return file


def chat(app: EdgetuneApp) -> ChatScreen:
    assert isinstance(app.screen, ChatScreen)
    return app.screen


def status(app: EdgetuneApp) -> str:
    return str(app.screen.query_one("#chat-status", Static).content)


async def open_chat(app: EdgetuneApp, pilot: Pilot[Any], until: Wait) -> None:
    await pilot.press("f6")
    await until(pilot, lambda: "is ready" in status(app))


async def test_a_run_is_exported_and_its_build_talks(
    app: EdgetuneApp, trained: runs.Run, until: Wait
) -> None:
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.screen.query_one("#runs", DataTable).row_count)
        await pilot.press("e")
        await until(pilot, lambda: app.current_mode == "export")
        table = app.screen.query_one("#builds", DataTable)
        await until(pilot, lambda: not app.screen.query_one("#export-run", Select).is_blank())
        await pilot.press("down", "down", "down", "down", "space", "ctrl+s")
        await until(pilot, lambda: table.row_count == 2)
        rows = [[str(cell) for cell in table.get_row_at(i)] for i in range(2)]
        assert [row[:2] for row in rows] == [["Q8_0", "verified"], ["Q4_K_M", "verified"]]
        assert rows[0][4] == "99.90%"
        await pilot.press("enter")
        await until(pilot, lambda: app.current_mode == "chat" and "is ready" in status(app))
        assert status(app).startswith("old-Q8_0.gguf")


async def test_a_build_that_fails_says_why_and_is_not_talked_to(
    app: EdgetuneApp, trained: runs.Run, until: Wait
) -> None:
    async with app.run_test() as pilot:
        await pilot.press("f5")
        await until(pilot, lambda: not app.screen.query_one("#export-run", Select).is_blank())
        await pilot.press("end", "space", "ctrl+s")
        table = app.screen.query_one("#builds", DataTable)
        await until(pilot, lambda: table.row_count == 2)
        message = app.screen.query_one("#export-message", Static)
        await until(pilot, lambda: "top-1 agreement is below" in str(message.content))


async def test_nothing_is_exported_without_a_run_or_a_type(app: EdgetuneApp) -> None:
    async with app.run_test() as pilot:
        await pilot.press("f5", "ctrl+s")
        await pilot.pause()
        assert len(app._notifications) == 1


async def test_an_answer_streams_and_the_conversation_goes_on(
    app: EdgetuneApp, trained: runs.Run, until: Wait
) -> None:
    gguf(trained, "old-Q8_0.gguf")
    async with app.run_test() as pilot:
        await open_chat(app, pilot, until)
        await pilot.press(*"one [b]two", "enter")
        await until(pilot, lambda: "of context" in status(app))
        answer = app.screen.query(Answer).last()
        assert answer.text == "1: one [b]two "
        assert answer.query_one(Markdown).source == answer.text
        assert "3 tokens" in str(answer.query_one(".figures", Static).content)
        assert status(app) == "10 of 64 tokens of context used"
        await pilot.press(*"again", "enter")
        await until(pilot, lambda: len(app.screen.query(Answer)) == 2)
        await until(pilot, lambda: app.screen.query(Answer).last().text == "3: again ")


async def test_escape_stops_at_once_and_keeps_what_came(
    app: EdgetuneApp, trained: runs.Run, until: Wait
) -> None:
    gguf(trained, "old-Q8_0.gguf")
    async with app.run_test() as pilot:
        await open_chat(app, pilot, until)
        server = chat(app)._server
        assert server is not None
        await pilot.press(*"slow", "enter")
        await until(pilot, lambda: app.screen.query(Answer))
        await until(pilot, lambda: len(app.screen.query(Answer).last().text) > 20)
        await pilot.press("escape")
        answer = app.screen.query(Answer).last()
        text = answer.text
        assert "stopped" in str(answer.query_one(".figures", Static).content)
        assert chat(app)._conversation[-1] == {"role": "assistant", "content": text}
        # The server notices that nobody listens any more.
        await until(pilot, lambda: "client went away" in server._child.output())
        assert answer.text == text
        await pilot.press(*"next", "enter")
        await until(pilot, lambda: app.screen.query(Answer).last().text == "3: next ")


async def test_a_question_may_have_several_lines(
    app: EdgetuneApp, trained: runs.Run, until: Wait
) -> None:
    gguf(trained, "old-Q8_0.gguf")
    async with app.run_test() as pilot:
        await open_chat(app, pilot, until)
        prompt = app.screen.query_one(Prompt)
        app.post_message(Paste("first\nsecond"))
        await until(pilot, lambda: prompt.text == "first\nsecond")
        await pilot.press("ctrl+j", *"third", "enter")
        await until(pilot, lambda: "of context" in status(app))
        assert chat(app)._conversation[0]["content"] == "first\nsecond\nthird"
        assert prompt.text == ""


async def test_the_system_prompt_goes_first(
    app: EdgetuneApp, trained: runs.Run, until: Wait
) -> None:
    gguf(trained, "old-Q8_0.gguf")
    async with app.run_test() as pilot:
        await open_chat(app, pilot, until)
        app.screen.query_one("#system").focus()
        await pilot.press(*"SYSTEM", "enter", *"hello", "enter")
        await until(pilot, lambda: app.screen.query(Answer))
        await until(pilot, lambda: app.screen.query(Answer).last().text == "SYSTEM 2: hello ")
    assert app.preferences.system_prompt == "SYSTEM"


async def test_a_refused_question_is_reported_and_not_remembered(
    app: EdgetuneApp, trained: runs.Run, until: Wait
) -> None:
    gguf(trained, "old-Q8_0.gguf")
    async with app.run_test() as pilot:
        await open_chat(app, pilot, until)
        await pilot.press(*"refuse", "enter")
        await until(pilot, lambda: status(app) == "too long")
        assert chat(app)._conversation == []
        await pilot.press(*"hello", "enter")
        await until(pilot, lambda: app.screen.query(Answer).last().text == "1: hello ")


async def test_a_server_that_dies_is_reported(
    app: EdgetuneApp, trained: runs.Run, until: Wait
) -> None:
    gguf(trained, "old-Q8_0.gguf")
    async with app.run_test() as pilot:
        await open_chat(app, pilot, until)
        server = chat(app)._server
        assert server is not None
        await pilot.press(*"slow", "enter")
        await until(pilot, lambda: app.screen.query(Answer))
        await until(pilot, lambda: app.screen.query(Answer).last().text)
        server._child.process.kill()
        await until(pilot, lambda: "broke off" in status(app))


async def test_the_ui_closes_while_an_answer_comes(
    app: EdgetuneApp, trained: runs.Run, until: Wait
) -> None:
    gguf(trained, "old-Q8_0.gguf")
    async with app.run_test() as pilot:
        await open_chat(app, pilot, until)
        server = chat(app)._server
        assert server is not None
        await pilot.press(*"slow", "enter")
        await until(pilot, lambda: app.screen.query(Answer))
        await until(pilot, lambda: app.screen.query(Answer).last().text)
        await pilot.press("ctrl+q")
    assert app.return_code == 0
    assert server._child.status() is not None


async def test_a_new_conversation_forgets_the_old_one(
    app: EdgetuneApp, trained: runs.Run, until: Wait
) -> None:
    gguf(trained, "old-Q8_0.gguf")
    async with app.run_test() as pilot:
        await open_chat(app, pilot, until)
        await pilot.press(*"hello", "enter")
        await until(pilot, lambda: "of context" in status(app))
        await pilot.press("ctrl+n")
        await until(pilot, lambda: not app.screen.query(Question))
        await pilot.press(*"hello", "enter")
        await until(pilot, lambda: "of context" in status(app))
        assert app.screen.query(Answer).last().text == "1: hello "


async def test_the_last_answer_is_copied(app: EdgetuneApp, trained: runs.Run, until: Wait) -> None:
    gguf(trained, "old-Q8_0.gguf")
    async with app.run_test() as pilot:
        await open_chat(app, pilot, until)
        await pilot.press("ctrl+y")
        assert app.clipboard == ""
        await pilot.press(*"hello", "enter")
        await until(pilot, lambda: "of context" in status(app))
        await pilot.press("ctrl+y")
        assert app.clipboard == "1: hello "


async def test_a_file_that_is_no_model_is_reported(
    app: EdgetuneApp, trained: runs.Run, until: Wait
) -> None:
    gguf(trained, "broken.gguf")
    async with app.run_test() as pilot:
        await pilot.press("f6")
        await until(pilot, lambda: "is not a GGUF file" in status(app))
        assert app.screen.query_one(Prompt).disabled


async def test_another_build_replaces_the_server(
    app: EdgetuneApp, trained: runs.Run, until: Wait
) -> None:
    gguf(trained, "a.gguf")
    gguf(trained, "b.gguf")
    async with app.run_test() as pilot:
        await pilot.press("f6")
        select = app.screen.query_one("#chat-build", Select)
        await until(pilot, lambda: "Choose" in select.prompt)
        await pilot.press("ctrl+o", "down", "enter")
        await until(pilot, lambda: "is ready" in status(app))
        first = chat(app)._server
        assert first is not None
        await pilot.press("ctrl+o", "down", "enter")
        await until(pilot, lambda: chat(app)._server not in (None, first))
        await until(pilot, lambda: "is ready" in status(app))
        assert first._child.status() is not None
        second = chat(app)._server
        assert second is not None
        assert {first.file.name, second.file.name} == {"a.gguf", "b.gguf"}
    assert second._child.status() is not None, "the server ends with the UI"
