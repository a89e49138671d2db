"""Base models in MLX: load one, run it, fuse an adapter into it, save it.

mlx-lm has the model definitions. What is decided here is the number type (float32 on a CPU, where
nothing else reaches an optimized BLAS; the model's own elsewhere) and that nothing is rounded on
the way: a fused model is saved in float32.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetune import device, hub
from edgetune.arrays import load_arrays, save_arrays
from edgetune.data.tokenizer import Tokenizer
from edgetune.errors import EdgetuneError, RequestError
from edgetune.train import adapters

device.prepare()

import mlx.core as mx  # noqa: E402
import mlx.nn as nn  # noqa: E402
from mlx.utils import tree_flatten  # noqa: E402
from mlx_lm.tuner.lora import LoRALinear  # noqa: E402
from mlx_lm.utils import dequantize_model, load_model  # noqa: E402


@dataclass
class Loaded:
    """A model in memory with its tokenizer."""

    model: nn.Module
    config: dict[str, Any]
    """The model's config.json."""
    tokenizer: Tokenizer
    path: Path
    notes: list[str]
    """What the user should know about how it was loaded."""


def load(name: str, exact: bool = False) -> Loaded:
    """Load a base model by name or path, ready to train or to predict.

    With ``exact`` it computes in float32 wherever that fits into the device's memory, as a
    reference has to; a note says if it does not.

    Raises RequestError where the model is missing, damaged or of an unknown architecture.
    """
    path = hub.resolve_model(name)
    where = device.describe()
    if where.kind == "cpu":
        # There MLX compiles by calling a C++ compiler while it runs, seconds for each kernel and
        # each new shape; the kernels are no faster for it, and not every machine has a compiler.
        mx.disable_compile()
    tokenizer = Tokenizer.from_directory(path)
    try:
        model, config = load_model(path)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        detail = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise RequestError(
            f"The model in {path} cannot be loaded: {detail}",
            "It has to be a language model that mlx-lm knows, with all its weights.",
        ) from error
    notes: list[str] = []
    single = where.dtype == "float32"
    count = sum(value.size for _, value in tree_flatten(model.parameters()))
    device.suit_threads(count)
    if exact and not single:
        single = 5 * count <= where.memory_limit_bytes  # four bytes each, and room to work
        if not single:
            notes.append(
                "The model does not fit into memory in float32, so the trained model is measured "
                "in its own precision and full-precision exports are held to a wider limit."
            )
    if single:
        if any(isinstance(module, nn.QuantizedLinear) for module in model.modules()):
            model = dequantize_model(model)
            notes.append(
                "The quantized base was expanded to float32, which needs up to eight times its "
                "memory."
            )
        model.set_dtype(mx.float32)
    model.eval()
    mx.eval(model.parameters())
    if tokenizer.size > embedding_rows(model):
        raise RequestError(
            f"The tokenizer in {path} has {tokenizer.size} tokens, the model only "
            f"{embedding_rows(model)} embedding rows.",
            "The files do not belong together: fetch the model again.",
        )
    return Loaded(model, config, tokenizer, path, notes)


def computes_in_float32(model: nn.Module) -> bool:
    """Whether all of the model's numbers are float32."""
    return all(value.dtype == mx.float32 for _, value in tree_flatten(model.parameters()))


def embedding_rows(model: nn.Module) -> int:
    """Number of rows of the input embedding."""
    for name, module in model.named_modules():
        if name.endswith("embed_tokens") and hasattr(module, "weight"):
            return int(module.weight.shape[0])
    raise EdgetuneError("This model has no `embed_tokens`, so edgetune cannot read its vocabulary.")


def attach_adapter(loaded: Loaded, adapter: Path) -> None:
    """Put the LoRA of an adapter directory on the model, in place; strict about every tensor.

    Raises RequestError if the adapter is damaged or of another model.
    """
    parameters = read_adapter_config(adapter)
    try:
        weights = load_arrays(adapter / "adapters.safetensors")
    except (RuntimeError, ValueError, OSError) as error:
        raise RequestError(f"The adapter in {adapter} cannot be read: {error}") from error
    adapters.attach(
        loaded.model,
        rank=parameters["rank"],
        scale=parameters["scale"],
        dropout=0.0,
        names=parameters["keys"],
    )
    adapters.set_weights(loaded.model, weights, str(adapter))
    loaded.model.eval()


def read_adapter_config(adapter: Path) -> dict[str, Any]:
    """``lora_parameters`` of an adapter directory: rank, scale, dropout, keys."""
    file = adapter / "adapter_config.json"
    try:
        parameters = json.loads(file.read_text(encoding="utf-8"))["lora_parameters"]
        return {name: parameters[name] for name in ("rank", "scale", "dropout", "keys")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{file} is missing or damaged.", "Export or train again.") from error


def save_fused(loaded: Loaded, output: Path, template: str) -> None:
    """Write the model with its adapter merged to the existing directory ``output``.

    Weights are float32 whatever the base had: W + scale · (A B)ᵀ is computed and kept in full
    precision, so that nothing of what was learned is rounded away before the last step. The
    model in memory is left as it is. ``template`` becomes the tokenizer's chat template.
    """
    fused: dict[str, mx.array] = {}
    replaced: dict[str, LoRALinear] = {
        name: module for name, module in loaded.model.named_modules() if hasattr(module, "lora_a")
    }
    for name, value in tree_flatten(loaded.model.parameters()):
        owner, _, leaf = name.rpartition(".")
        outer = owner.removesuffix(".linear")
        if owner in replaced:
            continue  # lora_a and lora_b themselves
        if owner.endswith(".linear") and outer in replaced and leaf == "weight":
            layer = replaced[outer]
            low_rank = layer.lora_a.astype(mx.float32) @ layer.lora_b.astype(mx.float32)
            value = value.astype(mx.float32) + layer.scale * low_rank.T
            name = f"{outer}.weight"
        elif owner.endswith(".linear") and outer in replaced:
            name = f"{outer}.{leaf}"
        fused[name] = value.astype(mx.float32)
        mx.eval(fused[name])
    save_arrays(output / "model.safetensors", fused)
    config = {key: value for key, value in loaded.config.items() if not key.startswith("quantiz")}
    for key in ("torch_dtype", "dtype"):
        if key in config:
            config[key] = "float32"
    (output / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    copy_tokenizer(loaded.tokenizer, output, template)


def copy_tokenizer(tokenizer: Tokenizer, output: Path, template: str) -> None:
    """Copy the tokenizer's files to the existing directory ``output`` with ``template`` in them."""
    for file in tokenizer.files:
        shutil.copyfile(file, output / file.name)
    config_file = output / "tokenizer_config.json"
    config = json.loads(config_file.read_text(encoding="utf-8")) if config_file.exists() else {}
    config["chat_template"] = template
    config_file.write_text(json.dumps(config, indent=1, ensure_ascii=False), encoding="utf-8")
    # A template in its own file would win over the one just written.
    (output / "chat_template.jinja").write_text(template, encoding="utf-8")


def log_probabilities(model: nn.Module, ids: Any, positions: Any) -> Any:
    """Natural-log next-token probabilities (len(positions), vocabulary), float32 numpy, of one
    sequence ``ids`` at the given ``positions`` (each predicts the token after it)."""
    import numpy as np

    logits = model(mx.array(ids)[None])[0][mx.array(positions)].astype(mx.float32)
    return np.array(logits - mx.logsumexp(logits, axis=-1, keepdims=True))
