"""Exports of a trained run: the file is the trained model, and a file that is not is caught."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edgetune import config as settings
from edgetune import runs
from edgetune.errors import RequestError
from edgetune.export import export, verify
from edgetune.train import train


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    """A run whose adapter changes the model clearly."""
    folder = tmp_path_factory.mktemp("exports")
    rows = folder / "rows.jsonl"
    words = ["red", "blue", "green", "one", "two", "three", "dog"]
    lines = [
        json.dumps({"instruction": f"Say {a} and {b}.", "output": f"{a} {b}"})
        for a in words
        for b in words
    ]
    rows.write_text("\n".join(lines), encoding="utf-8")
    config = settings.RunConfig(
        name="tuned",
        model=str(tiny_model),
        data=settings.DataConfig(train=[str(rows)], valid_fraction=0.3, max_length=64),
        adapter=settings.AdapterConfig(rank=8),
        train=settings.TrainConfig(steps=30, learning_rate=1e-2, micro_batch_tokens=256),
    )
    result = train(config, runs_dir=folder / "runs")
    assert result.validation_loss is not None and result.first_validation_loss is not None
    assert result.validation_loss < result.first_validation_loss - 0.5
    return result.run


@pytest.fixture(scope="module")
def exported(trained: runs.Run) -> dict[str, dict]:
    result = export(trained.path, ["F32", "F16", "bf16", "Q8_0", "Q4_K_M"])
    assert result.verified
    return {item["type"]: item for item in result.report["exports"]}


def test_full_precision_exports_are_the_trained_model(exported: dict[str, dict]) -> None:
    assert exported["F32"]["top1"] == 1.0
    assert exported["F32"]["kld_mean"] < 1e-5
    assert exported["F16"]["kld_mean"] < 1e-4


def test_every_build_is_reported_with_its_figures(
    trained: runs.Run, exported: dict[str, dict]
) -> None:
    assert set(exported) == {"F32", "F16", "BF16", "Q8_0", "Q4_K_M"}
    sizes = [exported[kind]["bytes"] for kind in ("F32", "F16", "Q8_0", "Q4_K_M")]
    assert sizes == sorted(sizes, reverse=True)
    report = json.loads((trained.export / "report.json").read_text(encoding="utf-8"))
    assert {item["type"]: item for item in report["exports"]} == exported
    for item in exported.values():
        assert (trained.export / item["file"]).stat().st_size > item["bytes"] * 0.5
        assert item["file"] in (trained.export / "report.md").read_text(encoding="utf-8")
    assert not [file for file in trained.export.iterdir() if file.name.startswith(".")]


def test_the_base_models_file_is_not_the_tuned_model(
    trained: runs.Run, exported: dict[str, dict], tiny_model: Path, tmp_path: Path
) -> None:
    from edgetune.data.templates.builtin import PLAIN
    from edgetune.quantize.convert import convert

    file = tmp_path / "base.gguf"
    convert(tiny_model, file, "f32", chat_template=PLAIN)
    assert verify(file, str(tiny_model)).verdict == "verified"
    result = verify(file, trained.path)
    assert result.verdict == "failed"
    assert any(reason.startswith("closeness") for reason in result.reasons)


def rewrite(
    source: Path,
    output: Path,
    tensors: Callable[[str, np.ndarray], np.ndarray] = lambda name, data: data,
    fields: Callable[[str, object], object] = lambda name, value: value,
) -> None:
    """Copy a GGUF, changed by ``tensors`` and ``fields`` (None leaves a field out)."""
    import gguf

    reader = gguf.GGUFReader(source)
    architecture = reader.get_field(gguf.Keys.General.ARCHITECTURE).contents()
    writer = gguf.GGUFWriter(output, architecture)
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == gguf.Keys.General.ARCHITECTURE:
            continue
        value = fields(field.name, field.contents())
        if value is not None:
            kind = field.types[0]
            inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, value, kind, sub_type=inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensors(tensor.name, np.array(tensor.data)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def unpermute(name: str, data: np.ndarray) -> np.ndarray:
    """q and k rows as Hugging Face has them: pairs of a rotation in two halves of a head."""
    heads = {"attn_q.weight": 8, "attn_k.weight": 4}.get(name.split(".", 2)[-1])
    if heads is None:
        return data
    rows, columns = data.shape
    pairs = data.reshape(heads, rows // heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def change_token(name: str, value: object) -> object:
    if name != "tokenizer.ggml.tokens":
        return value
    tokens = list(value)  # type: ignore[call-overload]
    index = next(i for i, text in enumerate(tokens) if text.startswith("▁") and len(text) > 3)
    tokens[index] = tokens[index] + "x"
    return tokens


def change_template(name: str, value: object) -> object:
    if name != "tokenizer.chat_template":
        return value
    return "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }}\n{% endfor %}"


def remove_end(name: str, value: object) -> object:
    return None if name == "tokenizer.ggml.eos_token_id" else value


BROKEN = {
    "rows of q and k not permuted": ({"tensors": unpermute}, "closeness"),
    "a token's text changed": ({"fields": change_token}, "token"),
    "another chat template": ({"fields": change_template}, "chat template"),
    "the end token removed": ({"fields": remove_end}, "end token"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_file_fails_names_the_reason_and_exits_1(
    fault: str, trained: runs.Run, exported: dict[str, dict], tmp_path: Path
) -> None:
    changes, reason = BROKEN[fault]
    file = tmp_path / "broken.gguf"
    rewrite(trained.export / exported["F32"]["file"], file, **changes)
    result = subprocess.run(
        [sys.executable, "-m", "edgetune", "verify", str(file), "--against", str(trained.path),
         "--json"],
        capture_output=True, text=True, timeout=120, env=os.environ,
    )  # fmt: skip
    assert result.returncode == 1, result.stderr
    document = json.loads(result.stdout)
    assert document["verdict"] == "failed"
    assert any(reason in item for item in document["reasons"]), document["reasons"]
    assert reason in " ".join(result.stderr.split())


def test_an_untouched_copy_verifies_and_exits_0(
    trained: runs.Run, exported: dict[str, dict], tmp_path: Path
) -> None:
    file = tmp_path / "copy.gguf"
    rewrite(trained.export / exported["F32"]["file"], file)
    result = verify(file, trained.path)
    assert result.verdict == "verified", result.reasons


def test_a_file_that_is_no_gguf_fails(trained: runs.Run, tmp_path: Path) -> None:
    file = tmp_path / "noise.gguf"
    file.write_bytes(b"GGUF" + bytes(range(256)) * 20)
    assert verify(file, trained.path).verdict == "failed"
    with pytest.raises(RequestError, match="no file"):
        verify(tmp_path / "nothing.gguf", trained.path)


def test_a_failing_build_does_not_keep_its_name(
    trained: runs.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["edgetune.export"]

    def build_another_model(source: Path, output: Path, kind: str) -> None:
        rewrite(source, output, tensors=lambda name, data: data * 0.5)

    monkeypatch.setattr(module, "build", build_another_model)
    result = export(trained.path, ["Q6_K"])
    assert not result.verified
    names = {file.name for file in trained.export.iterdir()}
    assert "tuned-Q6_K.gguf.failed" in names
    assert "tuned-Q6_K.gguf" not in names


@pytest.mark.slow
@pytest.mark.parametrize("model", ["stories260K", "babyllama"])
def test_real_models_train_and_export(model: str, shared_data: Path, tmp_path: Path) -> None:
    config = settings.RunConfig(
        name=model,
        model=str(shared_data / "models" / model),
        data=settings.DataConfig(
            train=[str(shared_data / "instruct" / "rasbt" / "instruction-data.json")]
        ),
        train=settings.TrainConfig(epochs=1),
    )
    result = train(config, runs_dir=tmp_path)
    assert result.validation_loss is not None and result.first_validation_loss is not None
    assert result.validation_loss < result.first_validation_loss
    exported = export(result.run.path, ["Q8_0"])
    assert [item.verdict for item in exported.verifications] == ["verified"]


def test_a_run_whose_base_changed_is_not_exported(
    trained: runs.Run, tiny_model: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_model, base)
    copy = tmp_path / "tuned"
    shutil.copytree(trained.path, copy, ignore=shutil.ignore_patterns("export"))
    config = (copy / "config.yaml").read_text(encoding="utf-8")
    (copy / "config.yaml").write_text(config.replace(str(tiny_model), str(base)), encoding="utf-8")
    weights = load_file(base / "model.safetensors")
    save_file({name: value * 1.01 for name, value in weights.items()}, base / "model.safetensors")
    with pytest.raises(RequestError, match="changed since the run tuned was trained"):
        export(copy, ["Q8_0"])
    assert not (copy / "export").exists()


def test_a_run_exported_from_within_its_folder_has_its_name(
    trained: runs.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained.path)
    result = export(".", ["Q8_0"])
    assert [Path(item.file).name for item in result.verifications] == ["tuned-Q8_0.gguf"]
