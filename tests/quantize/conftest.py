"""Models to convert, what MLX says they predict, and GGUF files broken on purpose."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from edgetune.data.templates.builtin import PLAIN
from edgetune.data.templates.rendering import ChatTemplate
from edgetune.quantize.reference import Reference

STORY = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the "
    "park with her big red ball. One day, the ball rolled down the hill. Lily was sad, but a "
    "dog found it. They played together until the sun went down and her mom called her home."
)

Describe = Callable[..., Reference]
Edit = Callable[..., Path]


def render(template: str, messages: list[dict[str, str]], bos: str, eos: str) -> str:
    return ChatTemplate(template, bos, eos, "test").render(messages, add_generation_prompt=True)


@pytest.fixture(scope="session")
def plain_render() -> Callable[..., str]:
    return render


@pytest.fixture(scope="session")
def describe_model() -> Describe:
    """(model directory, template, texts, sequences) -> its Reference, predictions by MLX."""
    from tokenizers import Tokenizer

    from edgetune.device import prepare

    prepare()
    import mlx.core as mx
    from mlx_lm.utils import load_model

    def describe(
        folder: Path,
        template: str = PLAIN,
        texts: Sequence[str] = (STORY, "two  spaces, \ttab\nline", " ümläut 🙂"),
        sequences: Sequence[Sequence[int]] = (),
    ) -> Reference:
        model, _ = load_model(folder)
        model.set_dtype(mx.float32)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

        def encode(text: str) -> list[int]:
            return list(tokenizer.encode(text, add_special_tokens=False).ids)

        conversations = [
            [{"role": "user", "content": "Once upon a time"}],
            [
                {"role": "user", "content": "Tell me"},
                {"role": "assistant", "content": "more"},
                {"role": "user", "content": "of it"},
            ],
        ]
        rendered = [render(template, messages, "<s>", "</s>") for messages in conversations]
        chosen = [list(ids) for ids in sequences] or [[1, *encode(STORY)]]
        log_probs = []
        for ids in chosen:
            logits = model(mx.array([ids]))[0]
            log_probs.append(np.array(logits - mx.logsumexp(logits, axis=-1, keepdims=True)))
        return Reference(
            texts=list(texts),
            text_ids=[encode(text) for text in texts],
            conversations=conversations,
            rendered=rendered,
            rendered_ids=[encode(text) for text in rendered],
            chat_template=template,
            bos="<s>",
            eos="</s>",
            stop_ids=[2],
            sequences=[np.array(ids, dtype=np.int32) for ids in chosen],
            positions=[np.arange(len(ids)) for ids in chosen],
            log_probs=log_probs,
            vocabulary=[
                str(tokenizer.id_to_token(token)) for token in range(tokenizer.get_vocab_size())
            ],
        )

    return describe


@pytest.fixture(scope="session")
def edit_gguf() -> Edit:
    """Copy a GGUF with metadata replaced or dropped and tensors changed."""

    def edit(
        source: Path,
        output: Path,
        replace: dict[str, Any] | None = None,
        drop: Sequence[str] = (),
        tensor: Callable[[str, np.ndarray], np.ndarray | None] = lambda name, data: data,
    ) -> Path:
        reader = gguf.GGUFReader(source)
        architecture = reader.fields["general.architecture"].contents()
        writer = gguf.GGUFWriter(output, architecture)
        for key, field in reader.fields.items():
            if key.startswith("GGUF.") or key == "general.architecture" or key in drop:
                continue
            value = field.contents()
            if replace and key in replace:
                value = replace[key]
            kind = field.types[0]
            inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(key, value, kind, inner)
        for item in reader.tensors:
            data = tensor(item.name, np.array(item.data))
            if data is not None:
                writer.add_tensor(item.name, data, raw_dtype=item.tensor_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return output

    return edit


@pytest.fixture
def model_copy(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model, to be spoilt."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


@pytest.fixture(scope="session")
def variant(tiny_model: Path) -> Callable[..., Path]:
    """(folder, seed, configuration) -> a random model beside the tiny model's tokenizer, with
    the biases and norms that the configuration asks for."""
    from safetensors.numpy import save_file

    def write(folder: Path, seed: int = 0, **changes: Any) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(tiny_model / name, folder)
        config = json.loads((tiny_model / "config.json").read_text()) | changes
        (folder / "config.json").write_text(json.dumps(config))
        random = np.random.default_rng(seed)
        hidden, inner = config["hidden_size"], config["intermediate_size"]
        heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        head = config.get("head_dim") or hidden // heads
        family = config["architectures"][0]

        def matrix(*shape: int) -> np.ndarray:
            return (random.standard_normal(shape) * 1.5 / np.sqrt(shape[-1])).astype(np.float32)

        def vector(size: int, around: float) -> np.ndarray:
            return (around + random.standard_normal(size) * 0.2).astype(np.float32)

        tensors = {"model.embed_tokens.weight": matrix(config["vocab_size"], hidden)}
        for index in range(config["num_hidden_layers"]):
            layer = f"model.layers.{index}."
            shapes = {
                "self_attn.q_proj": (heads * head, hidden),
                "self_attn.k_proj": (kv_heads * head, hidden),
                "self_attn.v_proj": (kv_heads * head, hidden),
                "self_attn.o_proj": (hidden, heads * head),
                "mlp.gate_proj": (inner, hidden),
                "mlp.up_proj": (inner, hidden),
                "mlp.down_proj": (hidden, inner),
            }
            for name, shape in shapes.items():
                tensors[f"{layer}{name}.weight"] = matrix(*shape)
                biased = config.get("mlp_bias") if "mlp" in name else config.get("attention_bias")
                if family == "Qwen2ForCausalLM" and name[10] in "qkv":
                    biased = True
                if biased:
                    tensors[f"{layer}{name}.bias"] = vector(shape[0], 0.0)
            norms = {"input_layernorm": hidden, "post_attention_layernorm": hidden}
            if family == "Qwen3ForCausalLM":
                norms |= {"self_attn.q_norm": head, "self_attn.k_norm": head}
            for name, size in norms.items():
                tensors[f"{layer}{name}.weight"] = vector(size, 1.0)
        tensors["model.norm.weight"] = vector(hidden, 1.0)
        if not config["tie_word_embeddings"]:
            tensors["lm_head.weight"] = matrix(config["vocab_size"], hidden)
        save_file(tensors, folder / "model.safetensors")
        return folder

    return write
