"""Quantized builds of every type, with what they really consist of."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgetune.data.templates.builtin import PLAIN
from edgetune.errors import EdgetuneError, RequestError
from edgetune.quantize import builds, child
from edgetune.quantize.builds import TYPES, build, describe
from edgetune.quantize.convert import convert
from edgetune.quantize.verify import verify_file


@pytest.mark.parametrize("name", ["Q8_0", "Q4_K_M", "Q2_K"])
def test_builds_of_a_trained_model_are_verified(
    shared_data: Path,
    tmp_path: Path,
    describe_model: Callable[..., Any],
    plain_render: Callable[..., str],
    name: str,
) -> None:
    # Rows of 64 and of 172: the first are too short for K types, the second for any.
    folder = shared_data / "models" / "stories260K"
    source = convert(folder, tmp_path / "source.gguf", "f32", chat_template=PLAIN).file
    made = build(source, tmp_path / "build.gguf", name)
    assert any(
        entry.startswith("ffn_down (5 tensors, rows of 172): F16") for entry in made.fallbacks
    )
    result = verify_file(made.file, describe_model(folder), plain_render, source=source)
    assert result.verdict == "verified", result.reasons
    assert result.type == name
    assert result.bits_per_weight == pytest.approx(made.bits_per_weight)


def test_builds_of_the_embedded_model_are_verified(
    nano: Path,
    tmp_path: Path,
    describe_model: Callable[..., Any],
    plain_render: Callable[..., str],
) -> None:
    reference = describe_model(nano)
    source = convert(nano, tmp_path / "source.gguf", "f32", chat_template=PLAIN).file
    exact = verify_file(source, reference, plain_render)
    assert exact.verdict == "verified", exact.reasons
    assert exact.top1 == 1.0
    assert exact.kld_mean < 1e-5
    for name in ("Q8_0", "Q4_K_M"):
        made = build(source, tmp_path / f"{name}.gguf", name)
        result = verify_file(made.file, reference, plain_render, source=source)
        assert result.verdict == "verified", result.reasons


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory, variant: Callable[..., Path]) -> Path:
    """A model with rows of 256, and rows of 320 in ffn_down, as a full-precision GGUF."""
    folder = tmp_path_factory.mktemp("wide")
    variant(
        folder / "model",
        hidden_size=256,
        intermediate_size=320,
        num_attention_heads=4,
        num_key_value_heads=4,
        tie_word_embeddings=True,
    )
    return convert(folder / "model", folder / "source.gguf", "bf16").file


def test_a_build_reports_its_types_and_real_size(wide: Path, tmp_path: Path) -> None:
    made = build(wide, tmp_path / "build.gguf", "q4_k_m")
    assert made.type == "Q4_K_M"
    assert made.tensor_types["Q4_K"] >= 8
    assert [entry.split(":")[0] for entry in made.fallbacks] == [
        "ffn_down (2 tensors, rows of 320)"
    ] or all(entry.startswith("ffn_down (1 tensor, rows of 320)") for entry in made.fallbacks)
    assert 4.5 < made.bits_per_weight < 6.6
    assert made.bytes == made.file.stat().st_size
    assert sum(made.type_weights.values()) * made.bits_per_weight / 8 < made.bytes
    assert describe(made.file) == made


def test_every_type_can_be_built_and_sizes_fall(wide: Path, tmp_path: Path) -> None:
    sizes = [build(wide, tmp_path / f"{name}.gguf", name).bits_per_weight for name in TYPES]
    assert sizes == sorted(sizes, reverse=True)


def test_rows_that_divide_by_nothing_still_build(
    tmp_path: Path, variant: Callable[..., Path]
) -> None:
    folder = variant(
        tmp_path / "model",
        hidden_size=40,
        intermediate_size=72,
        num_attention_heads=5,
        num_key_value_heads=5,
        tie_word_embeddings=True,
    )
    source = convert(folder, tmp_path / "source.gguf", "f32").file
    for name in ("Q8_0", "Q3_K_M"):
        made = build(source, tmp_path / "build.gguf", name)
        assert set(made.tensor_types) == {"F16", "F32"}
        assert made.fallbacks


def test_an_unknown_type_lists_the_known_ones(wide: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="Unknown build type 'Q9'") as caught:
        build(wide, tmp_path / "build.gguf", "Q9")
    assert "Q4_K_M" in caught.value.hint


def test_sources_that_cannot_be_quantized_are_refused(wide: Path, tmp_path: Path) -> None:
    small = build(wide, tmp_path / "small.gguf", "Q8_0").file
    with pytest.raises(RequestError, match="quantized already"):
        build(small, tmp_path / "again.gguf", "Q4_K_M")
    (tmp_path / "text.gguf").write_text("no GGUF at all, but long enough to be read as one")
    with pytest.raises(RequestError, match="no GGUF file or a damaged one"):
        build(tmp_path / "text.gguf", tmp_path / "again.gguf", "Q8_0")
    with pytest.raises(RequestError, match="is missing"):
        build(tmp_path / "absent.gguf", tmp_path / "again.gguf", "Q8_0")
    assert not (tmp_path / "again.gguf").exists()


def test_a_quantizer_that_dies_leaves_nothing_behind(
    wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(module: str, request: dict[str, Any], folder: Path) -> child.Outcome:
        Path(request["output"]).write_bytes(b"half a file")
        return child.Outcome(None, "llama.cpp crashed (SIGABRT) while quantizing")

    monkeypatch.setattr(builds.child, "run", die)
    output = tmp_path / "out" / "build.gguf"
    with pytest.raises(EdgetuneError, match="SIGABRT"):
        build(wide, output, "Q8_0")
    assert list(output.parent.iterdir()) == []
