"""A GGUF that is not the trained model gets the verdict "failed", with the reason named."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from edgetune.data.templates.builtin import PLAIN
from edgetune.errors import RequestError
from edgetune.quantize.builds import build
from edgetune.quantize.convert import convert
from edgetune.quantize.reference import Reference, Verification
from edgetune.quantize.report import report_markdown
from edgetune.quantize.verify import verify_file

EOS = "tokenizer.ggml.eos_token_id"
Case = tuple[Path, Reference]


@pytest.fixture(scope="module")
def good(
    tiny_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
    describe_model: Callable[..., Reference],
) -> Case:
    """The tiny model as a right F32 GGUF, and its reference."""
    file = tmp_path_factory.mktemp("good") / "good.gguf"
    convert(tiny_model, file, "f32", chat_template=PLAIN)
    return file, describe_model(tiny_model)


@pytest.fixture
def judge(plain_render: Callable[..., str]) -> Callable[..., Verification]:
    return lambda file, reference, **options: verify_file(file, reference, plain_render, **options)


def _unpermuted(name: str, data: np.ndarray) -> np.ndarray:
    heads = {"attn_q": 8, "attn_k": 4}.get(name.split(".")[-2])
    if heads is None:
        return data
    split = data.reshape(heads, -1, 2, data.shape[-1])
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(data.shape))


def test_a_right_file_is_verified(good: Case, judge: Callable[..., Verification]) -> None:
    file, reference = good
    told: list[tuple[int, int]] = []
    result = judge(file, reference, progress=lambda done, total: told.append((done, total)))
    assert result.verdict == "verified", result.reasons
    assert result.reasons == []
    assert result.top1 == 1.0
    assert result.kld_mean < 1e-9
    assert result.bits_per_weight == 32.0
    assert told == [(done, 4) for done in range(5)]


def test_unpermuted_query_and_key_rows_fail(
    good: Case,
    tmp_path: Path,
    judge: Callable[..., Verification],
    edit_gguf: Callable[..., Path],
) -> None:
    file, reference = good
    bad = edit_gguf(file, tmp_path / "bad.gguf", tensor=_unpermuted)
    result = judge(bad, reference)
    assert result.verdict == "failed"
    assert len(result.reasons) == 1
    assert "rows of the query and key weights are not permuted" in result.reasons[0]


def test_unpermuted_rows_fail_after_quantization_as_well(
    good: Case,
    tmp_path: Path,
    judge: Callable[..., Verification],
    edit_gguf: Callable[..., Path],
) -> None:
    file, reference = good
    bad = edit_gguf(file, tmp_path / "bad.gguf", tensor=_unpermuted)
    for name in ("Q8_0", "Q4_K_M"):
        built = build(bad, tmp_path / f"{name}.gguf", name).file
        result = judge(built, reference)
        assert result.verdict == "failed"
        assert "not permuted" in result.reasons[0]
        honest = build(file, tmp_path / f"{name}-good.gguf", name).file
        assert judge(honest, reference, source=file).verdict == "verified"


def test_a_space_that_should_be_added_and_is_not_fails(
    good: Case,
    tmp_path: Path,
    judge: Callable[..., Verification],
    edit_gguf: Callable[..., Path],
) -> None:
    file, reference = good
    key = "tokenizer.ggml.add_space_prefix"
    result = judge(edit_gguf(file, tmp_path / "bad.gguf", replace={key: False}), reference)
    assert any(reason.startswith("prompt ids:") for reason in result.reasons)


def test_a_changed_token_text_fails(
    good: Case,
    tmp_path: Path,
    judge: Callable[..., Verification],
    edit_gguf: Callable[..., Path],
) -> None:
    file, reference = good
    tokens = gguf.GGUFReader(file).fields["tokenizer.ggml.tokens"].contents()
    tokens[300] = "changed"
    bad = edit_gguf(file, tmp_path / "bad.gguf", replace={"tokenizer.ggml.tokens": tokens})
    result = judge(bad, reference)
    assert result.verdict == "failed"
    assert any("token texts: token 300 is 'changed'" in reason for reason in result.reasons)


def test_another_chat_template_fails(
    good: Case,
    tmp_path: Path,
    judge: Callable[..., Verification],
    edit_gguf: Callable[..., Path],
) -> None:
    file, reference = good
    key = "tokenizer.chat_template"
    chatml = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
        "{% endfor %}"
    )
    for template, reason in (
        (chatml, "renders differently from character 1"),
        (PLAIN + "{# a remark #}", "another template than in training"),
        ("{% broken", "cannot be rendered"),
    ):
        bad = edit_gguf(file, tmp_path / "bad.gguf", replace={key: template})
        result = judge(bad, reference)
        assert result.verdict == "failed"
        assert result.reasons[0].startswith("chat template:")
        assert reason in result.reasons[0]
    bad = edit_gguf(file, tmp_path / "bad.gguf", drop=[key])
    assert "chat template: the file has no chat template" in judge(bad, reference).reasons


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"drop": [EOS]}, "does not say which token ends an answer ('</s>')"),
        ({"replace": {EOS: 5}}, "ends answers with '<0x02>', not '</s>'"),
    ],
)
def test_a_removed_or_changed_end_token_fails(
    good: Case,
    tmp_path: Path,
    judge: Callable[..., Verification],
    edit_gguf: Callable[..., Path],
    change: dict[str, Any],
    reason: str,
) -> None:
    file, reference = good
    result = judge(edit_gguf(file, tmp_path / "bad.gguf", **change), reference)
    assert result.verdict == "failed"
    assert len(result.reasons) == 1
    assert result.reasons[0].startswith("end tokens:")
    assert reason in result.reasons[0]


def test_a_missing_second_end_token_fails(good: Case, judge: Callable[..., Verification]) -> None:
    file, reference = good
    result = judge(file, replace(reference, stop_ids=[2, 7]))
    assert result.reasons == ["end tokens: llama.cpp does not stop at '<0x04>'"]


def test_a_double_bos_fails(
    good: Case,
    tmp_path: Path,
    judge: Callable[..., Verification],
    edit_gguf: Callable[..., Path],
) -> None:
    file, reference = good
    key = "tokenizer.ggml.add_bos_token"
    result = judge(edit_gguf(file, tmp_path / "bad.gguf", replace={key: True}), reference)
    assert len(result.reasons) == 1
    assert "double BOS" in result.reasons[0]


def test_scores_that_merge_in_another_order_fail(
    good: Case,
    tmp_path: Path,
    judge: Callable[..., Verification],
    edit_gguf: Callable[..., Path],
) -> None:
    file, reference = good
    key = "tokenizer.ggml.scores"
    count = len(gguf.GGUFReader(file).fields[key].contents())
    bad = edit_gguf(file, tmp_path / "bad.gguf", replace={key: [-1000.0] * count})
    assert any(reason.startswith("token ids:") for reason in judge(bad, reference).reasons)


def test_a_space_before_the_beginning_alone_is_reproduced_in_prompts(
    model_copy: Path,
    tmp_path: Path,
    judge: Callable[..., Verification],
    describe_model: Callable[..., Reference],
    edit_gguf: Callable[..., Path],
) -> None:
    tokenizer = model_copy / "tokenizer.json"
    document = json.loads(tokenizer.read_text(encoding="utf-8"))
    document["normalizer"] = None
    document["pre_tokenizer"] = {
        "type": "Metaspace",
        "replacement": "▁",
        "prepend_scheme": "first",
        "split": False,
    }
    tokenizer.write_text(json.dumps(document), encoding="utf-8")
    reference = describe_model(model_copy)
    file = convert(model_copy, tmp_path / "model.gguf", "f32", chat_template=PLAIN).file
    result = judge(file, reference)
    assert result.verdict == "verified", result.reasons
    bad = edit_gguf(file, tmp_path / "bad.gguf", replace={"tokenizer.ggml.add_space_prefix": True})
    assert any(reason.startswith("prompt ids:") for reason in judge(bad, reference).reasons)


def test_decomposed_text_is_no_fault_of_the_file(
    good: Case, judge: Callable[..., Verification]
) -> None:
    file, reference = good
    composed = replace(
        reference, texts=["cafe\u0301"], text_ids=[[0]]
    )  # as if the tokenizer had composed it
    result = judge(file, composed)
    assert result.verdict == "verified"
    assert any("decomposed" in check.detail for check in result.checks)


def test_files_that_end_the_process_are_failed_and_not_our_death(
    good: Case, tmp_path: Path, judge: Callable[..., Verification], edit_gguf: Callable[..., Path]
) -> None:
    file, reference = good
    # Without byte tokens llama.cpp aborts at a character that it does not know.
    tokens = gguf.GGUFReader(file).fields["tokenizer.ggml.tokens"].contents()
    tokens[3:259] = [f"gone {index}" for index in range(256)]
    bad = edit_gguf(file, tmp_path / "bad.gguf", replace={"tokenizer.ggml.tokens": tokens})
    result = judge(bad, reference)
    assert result.verdict == "failed"
    assert "llama.cpp crashed (SIGABRT) while tokenizing" in result.reasons[0]
    assert result.to_dict()["kld_mean"] is None


def test_truncated_and_foreign_files_are_failed(
    good: Case, tmp_path: Path, judge: Callable[..., Verification]
) -> None:
    file, reference = good
    whole = file.read_bytes()
    bad = tmp_path / "bad.gguf"
    for content in (whole[: len(whole) // 2], whole[:1000], b"", b"GGUF", b"no GGUF" * 100):
        bad.write_bytes(content)
        result = judge(bad, reference)
        assert result.verdict == "failed"
        assert result.reasons[0].startswith("load:")
    with pytest.raises(RequestError, match="is missing"):
        judge(tmp_path / "absent.gguf", reference)


def test_weights_of_another_source_are_found(
    good: Case,
    tmp_path: Path,
    judge: Callable[..., Verification],
    edit_gguf: Callable[..., Path],
) -> None:
    file, reference = good

    def shifted(name: str, data: np.ndarray) -> np.ndarray:
        return np.roll(data, 1, axis=0) if name == "blk.1.ffn_up.weight" else data

    bad = edit_gguf(file, tmp_path / "bad.gguf", tensor=shifted)
    built = build(bad, tmp_path / "build.gguf", "Q3_K_S").file
    reasons = judge(built, reference, source=file).reasons
    assert any("same as source: blk.1.ffn_up.weight is off by" in reason for reason in reasons)
    renamed = edit_gguf(file, tmp_path / "renamed.gguf", replace={"general.name": "other"})
    assert judge(renamed, reference, source=file).reasons == [
        "same as source: the metadata differs: general.name"
    ]


def test_results_become_json_and_markdown(
    good: Case, tmp_path: Path, judge: Callable[..., Verification]
) -> None:
    file, reference = good
    built = build(file, tmp_path / "small.gguf", "Q4_K_M").file
    exports = [judge(path, reference).to_dict() for path in (file, built)]
    report = json.loads(json.dumps({"run": "mine", "model": "base", "exports": exports}))
    text = report_markdown(report)
    assert "| `good.gguf` | verified |" in text
    assert "- ok: token ids: equal on all 3 probe texts" in text
    assert "Q5_0 instead of Q4_K" in text
