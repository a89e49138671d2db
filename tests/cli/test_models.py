"""`edgetune models` prints what `edgetune.hub` finds and does."""

import json
from pathlib import Path

import pytest

from edgetune import hub
from edgetune.cli import main
from edgetune.hub import LocalModel

MODELS = [
    LocalModel("nano", Path("/assets/nano"), 7_000_000, embedded=True),
    LocalModel("owner/model", Path("/cache/model"), 3 * 2**30, embedded=False),
]


def test_the_models_on_this_machine_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hub, "list_models", lambda: MODELS)
    assert main.run(["models", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed[1] == {
        "name": "owner/model",
        "path": "/cache/model",
        "bytes": 3 * 2**30,
        "embedded": False,
    }
    assert main.run(["models", "list"]) == 0
    assert "3.00 GiB" in capsys.readouterr().out


def test_pulling_prints_the_directory(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hub, "pull", lambda name: Path("/cache") / name)
    assert main.run(["models", "pull", "owner/model"]) == 0
    assert capsys.readouterr().out == "/cache/owner/model\n"
    assert main.run(["models", "pull", "owner/model", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["path"] == "/cache/owner/model"


def test_removing_says_what_was_freed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hub, "remove_model", lambda name: 2048)
    assert main.run(["models", "remove", "owner/model"]) == 0
    assert capsys.readouterr().out == "Removed owner/model, 2.0 KiB freed.\n"
    assert main.run(["models", "remove", "owner/model", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["freed_bytes"] == 2048


def test_the_embedded_model_cannot_be_removed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["models", "remove", "nano"]) == 2
    assert "stays" in capsys.readouterr().err
