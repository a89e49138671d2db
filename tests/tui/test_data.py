"""The data screen: files are offered, rows shown, trained tokens marked."""

import json
from pathlib import Path

import pytest
from textual.content import Content
from textual.widgets import Input, OptionList, Static

from edgetune.errors import EdgetuneError
from edgetune.tui.app import EdgetuneApp
from edgetune.tui.services import preview
from edgetune.tui.widgets.train_form import TrainForm

from .conftest import Wait


def test_pieces_are_the_rendered_text_and_marked_exactly(folder: Path, tiny_model: Path) -> None:
    shown = preview.look(folder / "rows.jsonl", str(tiny_model))
    assert (shown.total, shown.format, shown.template) == (2, "alpaca", "plain")
    first, second = shown.rows
    text = "".join(piece.text for piece in first.pieces)
    assert text == "<s>Say red.\n red 🔴</s>"
    assert "".join(piece.text for piece in first.pieces if piece.trained) == " red 🔴</s>"
    assert [piece.text for piece in first.pieces if piece.special] == ["<s>", "</s>"]
    assert (second.line, second.task) == (2, "colours")
    assert 0 < first.trained < first.tokens


def test_a_row_that_cannot_be_trained_on_says_why(folder: Path, tiny_model: Path) -> None:
    row = {"instruction": "Say </s>.", "output": "no"}
    (folder / "rows.jsonl").write_text(json.dumps(row), encoding="utf-8")
    [shown] = preview.look(folder / "rows.jsonl", str(tiny_model)).rows
    assert "control token" in shown.problem


def test_rows_come_in_pages(folder: Path, tiny_model: Path, rows_file: Path) -> None:
    last = preview.look(rows_file, str(tiny_model), start=1000)
    assert (last.total, last.start, len(last.rows)) == (55, 40, 15)


@pytest.mark.parametrize("start", [0, 20])
def test_an_edited_file_is_read_again(
    folder: Path, tiny_model: Path, rows_file: Path, start: int
) -> None:
    assert preview.look(rows_file, str(tiny_model), start).total == 55
    lines = rows_file.read_text(encoding="utf-8").splitlines(keepends=True)
    rows_file.write_text("".join(lines[:30]), encoding="utf-8")
    assert preview.look(rows_file, str(tiny_model), start).total == 30


def test_a_missing_file_is_named(folder: Path, tiny_model: Path) -> None:
    with pytest.raises(EdgetuneError, match=r"nowhere\.jsonl"):
        preview.look(folder / "nowhere.jsonl", str(tiny_model))


def test_looking_at_rows_downloads_no_model(folder: Path) -> None:
    with pytest.raises(EdgetuneError, match="not on this machine"):
        preview.look(folder / "rows.jsonl", "somebody/some-model")


def content(app: EdgetuneApp, selector: str) -> Content:
    shown = app.screen.query_one(selector, Static).content
    assert isinstance(shown, Content)
    return shown


async def test_a_file_is_picked_and_its_trained_tokens_are_coloured(
    app: EdgetuneApp, tiny_model: Path, until: Wait
) -> None:
    async with app.run_test() as pilot:
        await pilot.press("f3")
        files = app.screen.query_one("#files", OptionList)
        await until(pilot, lambda: files.option_count)
        (app.runs_dir.parent / "m").symlink_to(tiny_model)
        await pilot.press("m", "end", "ctrl+u", "m", "escape")
        names = [str(option.prompt) for option in files.options]
        place = next(i for i, name in enumerate(names) if name.endswith("/rows.jsonl"))
        await pilot.press("home", *["down"] * place, "enter")
        await until(pilot, lambda: "2 rows (alpaca)" in str(content(app, "#summary")))
        text = content(app, "#text")
        assert "<s>Say red.\n red 🔴</s>" in text.plain
        coloured = {
            text.plain[span.start : span.end] for span in text.spans if "success" in str(span.style)
        }
        assert coloured == {" red 🔴", " blue", "</s>"}
        await pilot.press("t")
        await until(pilot, lambda: app.current_mode == "train")
        form = app.screen.query_one(TrainForm)
        assert form.value("data.train") == "rows.jsonl"
        assert form.value("model") == "m"


async def test_pages_are_turned_by_keys(
    app: EdgetuneApp, tiny_model: Path, rows_file: Path, until: Wait
) -> None:
    async with app.run_test() as pilot:
        await pilot.press("f3")
        app.screen.query_one("#model", Input).value = str(tiny_model)
        await pilot.press("slash", *"rows.jsonl", "enter")
        await until(pilot, lambda: "Rows 1–20" in str(content(app, "#summary")))
        await pilot.press("p")
        for rows in ("21–40", "41–55"):
            await pilot.press("n")
            await until(pilot, lambda rows=rows: f"Rows {rows}" in str(content(app, "#summary")))
        await pilot.press("n", "p")
        await until(pilot, lambda: "Rows 21–40" in str(content(app, "#summary")))


async def test_broken_rows_are_reported_with_their_line(
    app: EdgetuneApp, tiny_model: Path, folder: Path, until: Wait
) -> None:
    (folder / "broken.jsonl").write_text('{"instruction": "a", "output": "b"}\n{"x', "utf-8")
    async with app.run_test() as pilot:
        await pilot.press("f3")
        app.screen.query_one("#model", Input).value = str(tiny_model)
        await pilot.press("slash", *"broken.jsonl", "enter")
        await until(
            pilot, lambda: "line 2" in str(app.screen.query_one("#summary", Static).content)
        )
        await pilot.press("t")
        assert app.current_mode == "data"


async def test_a_path_is_completed(app: EdgetuneApp, until: Wait) -> None:
    async with app.run_test() as pilot:
        await pilot.press("f3", "slash", *"row")
        field = app.screen.query_one("#path", Input)
        await until(pilot, lambda: field._suggestion == "rows.jsonl")
        await pilot.press("right")
        assert field.value == "rows.jsonl"
