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


def test_rows_are_shown_with_what_is_trained_of_them(folder: Path, tiny_model: Path) -> None:
    shown = preview.look(folder / "rows.jsonl", str(tiny_model))
    assert (shown.start, shown.more, shown.template) == (0, False, "plain")
    first, second = shown.rows
    [view] = first.views
    assert "".join(piece.text for piece in view.pieces if piece.trained) == " red 🔴</s>"
    assert [piece.text for piece in view.pieces if piece.special] == ["<s>", "</s>"]
    assert (second.line, second.task) == (2, "colours")
    assert 0 < view.trained < len(view.tokens)


def test_a_row_that_is_left_out_says_why(folder: Path, tiny_model: Path) -> None:
    rows = [{"instruction": "Say.", "output": ""}, {"instruction": "Say.", "output": "no"}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "rows.jsonl").write_text(text, encoding="utf-8")
    first, second = preview.look(folder / "rows.jsonl", str(tiny_model)).rows
    assert not first.views
    assert first.findings[0].left_out
    assert second.views


def test_rows_come_in_pages(folder: Path, tiny_model: Path, rows_file: Path) -> None:
    last = preview.look(rows_file, str(tiny_model), start=40)
    assert (last.start, len(last.rows), last.more) == (40, 15, False)
    with pytest.raises(EdgetuneError, match="no row 1001"):
        preview.look(rows_file, str(tiny_model), start=1000)


def test_a_page_begins_with_the_line_that_is_asked_for(
    folder: Path, tiny_model: Path, rows_file: Path
) -> None:
    shown = preview.look(rows_file, str(tiny_model), place=(str(rows_file), 31))
    assert (shown.start, shown.rows[0].line, len(shown.rows)) == (30, 31, 20)
    with pytest.raises(EdgetuneError, match=r"no row in .*rows\.jsonl, line 77"):
        preview.look(rows_file, str(tiny_model), place=(str(rows_file), 77))


def test_a_stopped_examination_has_no_report(folder: Path, stand_in: None) -> None:
    examination = preview.Examination(folder / "rows.jsonl", "nano")
    examination.stop()
    assert examination.report() is None


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
        await until(pilot, lambda: "Rows 1–2" in str(content(app, "#summary")))
        text = content(app, "#text")
        assert "<s> Say red.\n red 🔴</s>" in text.plain
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


async def test_findings_are_listed_and_lead_to_their_row(
    app: EdgetuneApp, tiny_model: Path, folder: Path, until: Wait
) -> None:
    lines = [f'{{"instruction": "Say {n}.", "output": "{n} it is"}}' for n in range(40)]
    lines[30] = '{"x'
    (folder / "broken.jsonl").write_text("\n".join(lines), "utf-8")
    async with app.run_test() as pilot:
        await pilot.press("f3")
        app.screen.query_one("#model", Input).value = str(tiny_model)
        await pilot.press("slash", *"broken.jsonl", "enter")
        await until(pilot, lambda: "1 error" in str(content(app, "#verdict")))
        assert "39 of 40 rows usable (alpaca)" in str(content(app, "#verdict"))
        listed = app.screen.query_one("#findings", OptionList)
        names = [str(option.prompt) for option in listed.options]
        assert names[0].startswith("error 1 × broken")
        assert names[1].startswith("  line 31: ")
        await pilot.press("f", "home", "enter")
        await until(pilot, lambda: "Rows 31–40" in str(content(app, "#summary")))
        assert content(app, "#text").plain.startswith("line 31 · not usable\nerror: ")
        await pilot.press("t")
        await until(pilot, lambda: app.current_mode == "train")


async def test_a_file_that_is_not_there_is_named(app: EdgetuneApp, until: Wait) -> None:
    async with app.run_test() as pilot:
        await pilot.press("f3", "slash", *"nowhere.jsonl", "enter")
        await until(pilot, lambda: "nowhere.jsonl" in str(content(app, "#summary")))
        await pilot.press("t")
        assert app.current_mode == "data"


async def test_a_path_is_completed(app: EdgetuneApp, until: Wait) -> None:
    async with app.run_test() as pilot:
        await pilot.press("f3", "slash", *"row")
        field = app.screen.query_one("#path", Input)
        await until(pilot, lambda: field._suggestion == "rows.jsonl")
        await pilot.press("right")
        assert field.value == "rows.jsonl"
