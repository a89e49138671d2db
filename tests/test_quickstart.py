"""The whole way on the embedded model, as a user takes it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder in which a quickstart ran, and what it printed."""
    folder = tmp_path_factory.mktemp("quickstart")
    result = subprocess.run(
        [sys.executable, "-m", "edgetune", "quickstart"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=1200,
        env=os.environ | {"EDGETUNE_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "1"},
    )
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


@pytest.fixture(scope="module")
def summary(finished: tuple[Path, str]) -> dict[str, Any]:
    folder, _ = finished
    text = (folder / "runs" / "quickstart" / "summary.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


def test_the_base_knows_but_does_not_follow_and_the_tuned_model_does(
    summary: dict[str, Any],
) -> None:
    base, tuned = summary["base"], summary["tuned"]
    assert base["instances"]["exact_match"] <= 0.10
    assert base["phrasings"]["exact_match"] <= 0.10
    assert base["cloze"]["exact_match"] >= 0.90
    assert tuned["instances"]["exact_match"] >= 0.85
    assert tuned["phrasings"]["exact_match"] >= 0.85
    assert tuned["tasks"]["exact_match"] >= 0.60
    assert all(tuned[name]["rows"] >= 50 for name in ("instances", "phrasings", "tasks"))


def test_the_exports_are_the_tuned_model(summary: dict[str, Any]) -> None:
    exports = {item["type"]: item for item in summary["exports"]}
    assert set(exports) == {"Q8_0", "Q4_K_M"}
    tuned = summary["tuned"]["instances"]["exact_match"]
    for item in exports.values():
        assert item["verdict"] == "verified"
        assert {"file", "bytes", "bits_per_weight", "top1", "kld_mean"} <= set(item)
    assert abs(exports["Q8_0"]["instances"]["exact_match"] - tuned) <= 0.02


def test_the_run_directory_holds_what_the_design_says(finished: tuple[Path, str]) -> None:
    run = finished[0] / "runs" / "quickstart"
    expected = [
        "config.yaml", "data.json", "events.jsonl", "adapter/adapters.safetensors",
        "adapter/adapter_config.json", "adapter/tokenizer.json", "eval/before.json",
        "eval/after.json", "export/quickstart-Q8_0.gguf", "export/quickstart-Q4_K_M.gguf",
        "export/report.json", "export/report.md", "export/Modelfile", "summary.json",
    ]  # fmt: skip
    assert [name for name in expected if not (run / name).is_file()] == []
    assert not list(run.rglob("*.tmp"))


def test_it_answers_five_held_out_prompts(finished: tuple[Path, str]) -> None:
    assert sum(line.startswith("> ") for line in finished[1].splitlines()) == 5


def test_chat_and_eval_work_on_the_run_and_on_the_file(
    finished: tuple[Path, str], summary: dict[str, Any]
) -> None:
    from edgetune import paths

    folder, _ = finished
    file = folder / "runs" / "quickstart" / "export" / "quickstart-Q8_0.gguf"
    row = json.loads((paths.NANO_DATA / "train.jsonl").read_text().splitlines()[0])
    answers = []
    for target in ("quickstart", str(file)):
        result = subprocess.run(
            [sys.executable, "-m", "edgetune", "chat", target, "-p", row["instruction"],
             "--temperature", "0"],
            cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        answers.append(result.stdout.strip())
    assert answers[0]
    evaluated = subprocess.run(
        [sys.executable, "-m", "edgetune", "eval", str(file), "--data",
         str(paths.NANO_DATA / "tasks.jsonl"), "--json"],
        cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert evaluated.returncode == 0, evaluated.stderr
    score = json.loads(evaluated.stdout)["evaluations"][0]["sets"]["tasks.jsonl"]["exact_match"]
    assert abs(score - summary["tuned"]["tasks"]["exact_match"]) <= 0.05
