"""`edgetune train` and Ctrl-C."""

import json
import os
import signal
from pathlib import Path

import pytest
import yaml

from edgetune import events
from edgetune.cli.display import TrainDisplay, Working
from edgetune.cli.main import run
from edgetune.cli.train import stop_on_signal

STARTED = events.RunStarted(
    run="r",
    model="m",
    first_step=1,
    steps=2,
    examples=4,
    validation_examples=0,
    trained_tokens_per_epoch=9,
    trainable_parameters=1,
    device="CPU",
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_or_after_the_training_ends_at_once(number: signal.Signals) -> None:
    with stop_on_signal() as stop:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        stop.follow(STARTED)
        stop.follow(events.RunEnded(reason="completed", step=2))
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        assert not stop.requested()


def test_while_a_run_trains_the_first_signal_asks_and_the_second_ends() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stop_on_signal() as stop:
        stop.follow(STARTED)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


def test_outside_a_terminal_the_display_adds_no_empty_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with TrainDisplay() as display:
        display.show(STARTED)
        display.show(events.RunEnded(reason="completed", step=2))
    assert "" not in capsys.readouterr().err.splitlines()


def test_the_report_on_the_data_comes_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = {"error": 0, "warning": 1, "note": 0}
    finding = {
        "grade": "warning",
        "kind": "empty",
        "message": "message 2 is empty",
        "file": "rows.jsonl",
        "line": 3,
        "left_out": True,
        "related": "",
    }
    report = {
        "files": [{"file": "rows.jsonl", "use": "train", "formats": {"alpaca": 5}}],
        "rows": 6,
        "usable": 5,
        "parts": {"train": {"rows": 5, "tokens": 50, "trained_tokens": 9}, "valid": {"rows": 0}},
        "counts": counts,
        "findings": [finding],
    }
    file = tmp_path / "report.json"
    file.write_text(json.dumps(report), encoding="utf-8")
    event = events.DataReport(file=str(file), rows=6, usable=5, counts=counts)
    with TrainDisplay() as display:
        display.show(event)
        file.unlink()
        display.show(event)
    assert capsys.readouterr().err.splitlines() == [
        "data: 5 rows to train on (alpaca); 0 for validation; 9 of 50 tokens trained; 1 left out",
        "findings: 1 warning",
        "  warning: rows.jsonl, line 3: message 2 is empty",
        f"  report: {file}",
        "data: 5 of 6 rows usable",
    ]


def test_outside_a_terminal_progress_is_said_only_where_it_takes_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with Working() as working:
        working.show("reading", 0.1)
        now += 11
        working.show("reading\x1b[2J", 0.6)
        working.show("reading", 0.7)
    assert capsys.readouterr().err == "reading␛[2J: 60%\n"


def test_strict_and_a_template_are_settings_like_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["train", "--strict", "--template", "chatml", "--print-config"]
    assert run([*arguments, "--data", "a.csv", "--data", "b"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["data"]["strict"] is True
    assert shown["data"]["template"] == "chatml"
    assert shown["data"]["train"] == ["a.csv", "b"]
