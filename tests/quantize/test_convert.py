"""Model directory -> GGUF: the file predicts what MLX predicts, and bad models are refused."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edgetune.data.templates.builtin import PLAIN
from edgetune.errors import EdgetuneError, RequestError
from edgetune.quantize.convert import convert
from edgetune.quantize.verify import verify_file

NO_NEWLINE = "{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}


def _fields(path: Path) -> dict[str, Any]:
    reader = gguf.GGUFReader(path)
    return {key: field.contents() for key, field in reader.fields.items()}


@pytest.mark.parametrize(
    ("model", "template", "texts"),
    [("stories260K", PLAIN, None), ("babyllama", NO_NEWLINE, ["Once upon a time"])],
)
def test_trained_models_predict_the_same_in_full_precision(
    shared_data: Path,
    tmp_path: Path,
    describe_model: Callable[..., Any],
    plain_render: Callable[..., str],
    model: str,
    template: str,
    texts: list[str] | None,
) -> None:
    folder = shared_data / "models" / model
    reference = describe_model(folder, template, **({"texts": texts} if texts else {}))
    convert(folder, tmp_path / "f32.gguf", "f32", chat_template=template)
    exact = verify_file(tmp_path / "f32.gguf", reference, plain_render)
    assert exact.verdict == "verified", exact.reasons
    assert exact.top1 == 1.0
    assert exact.kld_mean < 1e-5
    convert(folder, tmp_path / "f16.gguf", "f16", chat_template=template)
    half = verify_file(tmp_path / "f16.gguf", reference, plain_render)
    assert half.verdict == "verified", half.reasons
    assert half.kld_mean < 1e-4


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="untied"),
        pytest.param({"rope_scaling": LLAMA3_ROPE, "head_dim": 16}, id="llama3 rope, wide heads"),
        pytest.param(
            {"rope_scaling": {"type": "linear", "factor": 2.0}, "tie_word_embeddings": True},
            id="linear rope, tied",
        ),
        pytest.param({"attention_bias": True, "mlp_bias": True}, id="biases"),
        pytest.param({"rope_traditional": True}, id="traditional rope"),
        pytest.param(
            {"architectures": ["MistralForCausalLM"], "model_type": "mistral"}, id="mistral"
        ),
        pytest.param({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}, id="qwen2"),
        pytest.param(
            {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "head_dim": 16},
            id="qwen3",
        ),
    ],
)
def test_every_supported_family_predicts_the_same(
    tmp_path: Path,
    variant: Callable[..., Path],
    describe_model: Callable[..., Any],
    plain_render: Callable[..., str],
    changes: dict[str, Any],
) -> None:
    folder = variant(tmp_path / "model", **changes)
    convert(folder, tmp_path / "model.gguf", "f32", chat_template=PLAIN)
    result = verify_file(tmp_path / "model.gguf", describe_model(folder), plain_render)
    assert result.verdict == "verified", result.reasons
    assert result.kld_mean < 1e-9


def test_missing_rope_factors_are_far_beyond_the_limit(
    tmp_path: Path,
    variant: Callable[..., Path],
    describe_model: Callable[..., Any],
    plain_render: Callable[..., str],
    edit_gguf: Callable[..., Path],
) -> None:
    folder = variant(tmp_path / "model", rope_scaling=LLAMA3_ROPE, head_dim=16)
    good = convert(folder, tmp_path / "good.gguf", "f32", chat_template=PLAIN).file
    bad = edit_gguf(
        good, tmp_path / "bad.gguf", tensor=lambda name, data: None if "rope" in name else data
    )
    result = verify_file(bad, describe_model(folder), plain_render)
    assert result.verdict == "failed"
    assert result.kld_mean > 1000 * 1e-5
    assert "rope factors" in result.reasons[0]


def test_metadata_says_what_llama_cpp_needs(model_copy: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    result = convert(
        model_copy,
        tmp_path / "model.gguf",
        "f16",
        chat_template="{{ bos_token }}mine",
        name="My model",
        progress=lambda done, total: told.append((done, total)),
    )
    fields = _fields(result.file)
    assert fields["general.name"] == "My model"
    assert fields["general.architecture"] == result.architecture == "llama"
    assert fields["general.file_type"] == gguf.LlamaFileType.MOSTLY_F16
    assert fields["llama.attention.head_count_kv"] == 4
    assert fields["llama.rope.dimension_count"] == 8
    assert fields["tokenizer.chat_template"] == "{{ bos_token }}mine"
    assert fields["tokenizer.ggml.add_bos_token"] is False
    assert fields["tokenizer.ggml.eos_token_id"] == 2
    types = {item.name: item.tensor_type.name for item in gguf.GGUFReader(result.file).tensors}
    assert types["output_norm.weight"] == "F32"
    assert types["blk.0.attn_q.weight"] == "F16"
    assert told[-1] == (result.tensors, result.tensors)
    assert result.bytes == result.file.stat().st_size


def test_the_models_own_template_is_taken_where_none_is_given(
    model_copy: Path, tmp_path: Path
) -> None:
    settings = model_copy / "tokenizer_config.json"
    settings.write_text(
        json.dumps(json.loads(settings.read_text()) | {"chat_template": "from the settings"})
    )
    convert(model_copy, tmp_path / "a.gguf")
    assert _fields(tmp_path / "a.gguf")["tokenizer.chat_template"] == "from the settings"
    (model_copy / "chat_template.jinja").write_text("from the file")
    convert(model_copy, tmp_path / "b.gguf")
    assert _fields(tmp_path / "b.gguf")["tokenizer.chat_template"] == "from the file"


def test_sharded_bfloat16_weights_keep_every_bit(model_copy: Path, tmp_path: Path) -> None:
    tensors = load_file(model_copy / "model.safetensors")
    (model_copy / "model.safetensors").unlink()
    bits = {name: (data.view(np.uint32) >> 16).astype("<u2") for name, data in tensors.items()}
    names = sorted(bits)
    weight_map = {}
    for number, part in enumerate((names[::2], names[1::2])):
        file = f"model-{number}.safetensors"
        header: dict[str, Any] = {}
        blob = b""
        for name in part:
            data = bits[name].tobytes()
            offsets = [len(blob), len(blob) + len(data)]
            header[name] = {"dtype": "BF16", "shape": bits[name].shape, "data_offsets": offsets}
            blob += data
            weight_map[name] = file
        text = json.dumps(header).encode()
        (model_copy / file).write_bytes(struct.pack("<Q", len(text)) + text + blob)
    index = model_copy / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    convert(model_copy, tmp_path / "model.gguf", "bf16")
    found = {item.name: item for item in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    stored = np.array(found["blk.1.ffn_up.weight"].data).view("<u2")
    assert np.array_equal(stored, bits["model.layers.1.mlp.up_proj.weight"])

    (model_copy / "model-1.safetensors").unlink()
    with pytest.raises(RequestError, match=r"model-1\.safetensors is missing"):
        convert(model_copy, tmp_path / "model.gguf")


def test_a_truncated_file_is_refused_by_name(model_copy: Path, tmp_path: Path) -> None:
    weights = model_copy / "model.safetensors"
    whole = weights.read_bytes()
    for length in (0, 5, 100, len(whole) // 2, len(whole) - 1):
        weights.write_bytes(whole[:length])
        with pytest.raises(RequestError, match=r"model\.safetensors is truncated"):
            convert(model_copy, tmp_path / "model.gguf")
    weights.write_bytes(struct.pack("<Q", 16) + b"not json at all!" + bytes(100))
    with pytest.raises(RequestError, match="damaged header"):
        convert(model_copy, tmp_path / "model.gguf")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("model.layers.1.mlp.up_proj.weight"), "up_proj.weight is missing"),
        (
            lambda t: t.update({"model.norm.weight": np.ones(3, np.float32)}),
            r"model.norm.weight has the shape \[3\]",
        ),
        (
            lambda t: t.update({"model.layers.0.self_attn.q_proj.lora_a": np.ones(3, np.float32)}),
            "no tensor model.layers.0.self_attn.q_proj.lora_a",
        ),
        (lambda t: t["lm_head.weight"].fill(np.nan), "lm_head.weight holds values that are not"),
        (lambda t: t["lm_head.weight"].fill(1e6), "lm_head.weight holds values too large for f16"),
        (lambda t: t.update({"model.norm.weight": np.ones(64, np.int8)}), "has the type I8"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    model_copy: Path,
    tmp_path: Path,
    change: Callable[[dict[str, np.ndarray]], Any],
    message: str,
) -> None:
    tensors = load_file(model_copy / "model.safetensors")
    change(tensors)
    save_file(tensors, model_copy / "model.safetensors")
    output = tmp_path / "out" / "model.gguf"
    output.parent.mkdir()
    output.write_text("an earlier export")
    with pytest.raises(RequestError, match=message):
        convert(model_copy, output, "f16")
    assert output.read_text() == "an earlier export"
    assert list(output.parent.iterdir()) == [output]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": ["BertModel"]}, "the architecture BertModel cannot be converted"),
        ({"quantization": {"bits": 4}}, "quantized already"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "type yarn"),
        ({"layer_types": ["sliding_attention"]}, "sliding-window attention"),
        ({"hidden_act": "gelu"}, "hidden_act gelu"),
        ({"hidden_size": None}, "hidden_size is None"),
    ],
)
def test_configurations_that_cannot_be_expressed_are_refused(
    model_copy: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    config = model_copy / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    with pytest.raises(RequestError, match=message) as caught:
        convert(model_copy, tmp_path / "model.gguf")
    assert str(config) in caught.value.message


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"config\.json is missing"):
        convert(tmp_path, tmp_path / "model.gguf")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(RequestError, match="not valid JSON"):
        convert(tmp_path, tmp_path / "model.gguf")


def test_a_full_disk_leaves_nothing_behind(
    model_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gguf.GGUFWriter, "write_tensor_data", full)
    output = tmp_path / "out" / "model.gguf"
    with pytest.raises(EdgetuneError, match="disk is full"):
        convert(model_copy, output)
    assert list(output.parent.iterdir()) == []
