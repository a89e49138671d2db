"""Per model family: which tensors there are, what GGUF calls them, and the metadata.

GGUF's ``llama`` rotates neighbouring pairs of a head's columns, the Hugging Face layout rotates
the two halves of a head. The rows of the query and key projections are therefore reordered
("permuted") for the families whose GGUF architecture rotates pairs; the others stay as they are.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from edgetune.errors import RequestError

ROPE_FREQS = "rope_freqs.weight"


@dataclass(frozen=True)
class Family:
    """What distinguishes a model family: its GGUF ``architecture`` and its extra tensors."""

    architecture: str
    permuted: bool
    qkv_bias: bool = False
    """Biases on q, k and v alone, whatever the configuration says."""
    qk_norm: bool = False
    """A norm over each head's queries and keys."""


FAMILIES = {
    "LlamaForCausalLM": Family("llama", permuted=True),
    "MistralForCausalLM": Family("llama", permuted=True),
    "Qwen2ForCausalLM": Family("qwen2", permuted=False, qkv_bias=True),
    "Qwen3ForCausalLM": Family("qwen3", permuted=False, qk_norm=True),
}


@dataclass(frozen=True)
class Tensor:
    """One tensor's way from the model directory into the GGUF.

    ``shape`` is what the configuration demands; ``heads`` is set where rows are permuted.
    """

    source: str
    target: str
    shape: tuple[int, ...]
    heads: int | None = None


class Model:
    """A model's configuration, read for conversion.

    Raises RequestError, naming the file, for an unknown family or a setting that GGUF cannot
    express.
    """

    def __init__(self, model_dir: Path) -> None:
        self.path = model_dir / "config.json"
        self.config = read_json(self.path)
        names = self.config.get("architectures") or ["(none named)"]
        family = FAMILIES.get(names[0])
        if family is None:
            raise RequestError(
                f"{self.path}: the architecture {names[0]} cannot be converted.",
                f"Supported: {', '.join(sorted(FAMILIES))}.",
            )
        self.family = family
        if "quantization" in self.config or "quantization_config" in self.config:
            raise RequestError(
                f"{self.path}: the weights are quantized already.",
                "Convert the model's full-precision weights.",
            )
        if self._value("hidden_act", "silu") != "silu":
            raise self._unsupported(f"hidden_act {self.config['hidden_act']}")
        sliding = "sliding_attention" in (self.config.get("layer_types") or [])
        if sliding or self.config.get("use_sliding_window"):
            raise self._unsupported("sliding-window attention")
        self.layers = self._count("num_hidden_layers")
        self.hidden = self._count("hidden_size")
        self.feed_forward = self._count("intermediate_size")
        self.heads = self._count("num_attention_heads")
        self.kv_heads = int(self._value("num_key_value_heads", self.heads))
        self.head_size = int(self._value("head_dim", self.hidden // self.heads))
        self.vocabulary = self._count("vocab_size")
        self.context = self._count("max_position_embeddings")
        self.rope = self._rope()

    def _unsupported(self, what: str) -> RequestError:
        return RequestError(
            f"{self.path}: {what} cannot be expressed in a {self.family.architecture} GGUF.",
            "Export a model without it.",
        )

    def _value(self, key: str, default: Any) -> Any:
        value = self.config.get(key)
        return default if value is None else value

    def _count(self, key: str) -> int:
        value = self.config.get(key)
        if not isinstance(value, int) or value <= 0:
            raise RequestError(f"{self.path}: {key} is {value!r}, not a positive number.")
        return value

    def _rope(self) -> dict[str, Any]:
        # Newer configurations keep everything in rope_parameters, older ones have rope_theta
        # at the top and the scaling, if any, in rope_scaling.
        rope = dict(self.config.get("rope_parameters") or self.config.get("rope_scaling") or {})
        rope["theta"] = float(self._value("rope_theta", rope.get("rope_theta", 10000.0)))
        rope["kind"] = rope.get("rope_type") or rope.get("type") or "default"
        if rope["kind"] not in ("default", "linear", "llama3"):
            raise self._unsupported(f"rope scaling of the type {rope['kind']}")
        if rope["kind"] == "llama3" and self.family.architecture != "llama":
            raise self._unsupported("rope scaling of the type llama3")
        return rope

    def tensors(self, available: Callable[[str], bool]) -> list[Tensor]:
        """All tensors of the model in the order of the file.

        ``available`` says whether the model directory holds a name; it decides about the output
        matrix where the configuration does not say whether it is tied to the embeddings.
        """
        hidden, head = self.hidden, self.head_size
        tensors = [
            Tensor("model.embed_tokens.weight", "token_embd.weight", (self.vocabulary, hidden)),
            Tensor("model.norm.weight", "output_norm.weight", (hidden,)),
        ]
        tied = self._value("tie_word_embeddings", not available("lm_head.weight"))
        if not tied:
            tensors.append(Tensor("lm_head.weight", "output.weight", (self.vocabulary, hidden)))
        # mlx's rope_traditional rotates neighbouring pairs itself: nothing is to be reordered.
        permuted = self.family.permuted and not self.config.get("rope_traditional")
        attention_bias = bool(self.config.get("attention_bias"))
        qkv_bias = self.family.qkv_bias or attention_bias
        mlp_bias = bool(self.config.get("mlp_bias"))
        projections = [
            ("self_attn.q_proj", "attn_q", (self.heads * head, hidden), self.heads, qkv_bias),
            ("self_attn.k_proj", "attn_k", (self.kv_heads * head, hidden), self.kv_heads, qkv_bias),
            ("self_attn.v_proj", "attn_v", (self.kv_heads * head, hidden), None, qkv_bias),
            ("self_attn.o_proj", "attn_output", (hidden, self.heads * head), None, attention_bias),
            ("mlp.gate_proj", "ffn_gate", (self.feed_forward, hidden), None, mlp_bias),
            ("mlp.up_proj", "ffn_up", (self.feed_forward, hidden), None, mlp_bias),
            ("mlp.down_proj", "ffn_down", (hidden, self.feed_forward), None, mlp_bias),
        ]
        norms = [("input_layernorm", "attn_norm", hidden)]
        norms.append(("post_attention_layernorm", "ffn_norm", hidden))
        if self.family.qk_norm:
            norms.append(("self_attn.q_norm", "attn_q_norm", head))
            norms.append(("self_attn.k_norm", "attn_k_norm", head))
        for layer in range(self.layers):
            source, target = f"model.layers.{layer}.", f"blk.{layer}."
            for name, gguf_name, size in norms:
                tensors.append(
                    Tensor(f"{source}{name}.weight", f"{target}{gguf_name}.weight", (size,))
                )
            for name, gguf_name, shape, heads, bias in projections:
                heads = heads if permuted else None
                tensors.append(
                    Tensor(f"{source}{name}.weight", f"{target}{gguf_name}.weight", shape, heads)
                )
                if bias:
                    tensors.append(
                        Tensor(
                            f"{source}{name}.bias", f"{target}{gguf_name}.bias", shape[:1], heads
                        )
                    )
        return tensors

    def rope_freqs(self) -> np.ndarray | None:
        """Llama 3's frequency factors, float32 (head_size / 2,), or None where there are none.

        GGUF has no metadata for this scaling: it is the tensor ``rope_freqs.weight``, by which
        the frequencies are divided. Long wavelengths are stretched by ``factor``, short ones
        stay, those in between are interpolated (the Llama 3.1 reference implementation).
        """
        if self.rope["kind"] != "llama3":
            return None
        try:
            factor = float(self.rope["factor"])
            low = float(self.rope.get("low_freq_factor", 1.0))
            high = float(self.rope.get("high_freq_factor", 4.0))
            trained = float(self.rope.get("original_max_position_embeddings", 8192))
        except (KeyError, TypeError, ValueError) as error:
            raise RequestError(f"{self.path}: incomplete llama3 rope scaling ({error}).") from error
        exponents = np.arange(0, self.head_size, 2, dtype=np.float64) / self.head_size
        wavelengths = 2 * math.pi * self.rope["theta"] ** exponents
        smooth = np.clip((trained / wavelengths - low) / (high - low), 0.0, 1.0)
        return (1.0 / ((1 - smooth) / factor + smooth)).astype(np.float32)

    def write_metadata(self, writer: gguf.GGUFWriter) -> None:
        """Write the architecture's hyperparameters."""
        writer.add_vocab_size(self.vocabulary)
        writer.add_context_length(self.context)
        writer.add_embedding_length(self.hidden)
        writer.add_block_count(self.layers)
        writer.add_feed_forward_length(self.feed_forward)
        writer.add_head_count(self.heads)
        writer.add_head_count_kv(self.kv_heads)
        writer.add_key_length(self.head_size)
        writer.add_value_length(self.head_size)
        writer.add_rope_dimension_count(self.head_size)
        writer.add_rope_freq_base(self.rope["theta"])
        writer.add_layer_norm_rms_eps(float(self._value("rms_norm_eps", 1e-6)))
        if self.rope["kind"] == "linear":
            writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(float(self.rope["factor"]))


def permute(weight: np.ndarray, heads: int) -> np.ndarray:
    """Reorder the rows of each head from two halves to neighbouring pairs.

    ``weight`` is (heads * size, columns) or a bias (heads * size,).
    """
    split = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return split.swapaxes(1, 2).reshape(weight.shape)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; RequestError, naming the file, when missing or broken."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RequestError(
            f"{path} is missing.", "Give the directory of a model in Hugging Face layout."
        ) from None
    except ValueError as error:
        raise RequestError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(value, dict):
        raise RequestError(f"{path} holds no JSON object.")
    return value
