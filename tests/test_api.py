"""``import edgetune`` offers the work of the commands as functions."""

import subprocess
import sys
from pathlib import Path

import edgetune


def test_functions_stay_functions_whatever_was_imported_before() -> None:
    code = (
        "import edgetune, edgetune.train.checkpoint, edgetune.export, edgetune.evaluate\n"
        "from edgetune.train import train\n"
        "assert edgetune.train is train\n"
        "assert callable(edgetune.export) and callable(edgetune.evaluate)\n"
        "assert callable(edgetune.verify) and callable(edgetune.load)\n"
    )
    subprocess.run([sys.executable, "-W", "error::ImportWarning", "-c", code], check=True)


def test_train_export_evaluate_and_load_from_python(
    tiny_model: Path, rows_file: Path, tmp_path: Path
) -> None:
    result = edgetune.train(
        {
            "name": "api",
            "model": str(tiny_model),
            "data": {"train": [str(rows_file)], "max_length": 64},
            "train": {"steps": 2},
        },
        runs_dir=tmp_path,
    )
    assert result.completed
    exported = edgetune.export(result.run.path, ["Q8_0"])
    assert exported.verified
    file = result.run.export / "api-Q8_0.gguf"
    assert edgetune.verify(file, result.run.path).verdict == "verified"
    with edgetune.load(file) as engine:
        assert engine.name
    for target in (str(result.run.path), str(file)):
        (evaluation,) = edgetune.evaluate(target, [rows_file])
        assert evaluation.scores["rows.jsonl"].rows == 55
