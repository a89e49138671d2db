"""Which weights learn: LoRA matrices on chosen linear layers of a frozen base (Hu et al. 2021).

y = W x + (alpha / rank) · B(A x), with A random, B zero: the tuned model starts as the base.
"""

import json
import math
from pathlib import Path
from typing import Any

from edgetune import device
from edgetune.arrays import save_arrays
from edgetune.config import AdapterConfig
from edgetune.errors import RequestError

device.prepare()

import mlx.core as mx  # noqa: E402
import mlx.nn as nn  # noqa: E402
from mlx.utils import tree_flatten, tree_unflatten  # noqa: E402
from mlx_lm.tuner.lora import LoRALinear  # noqa: E402


def linear_names(model: nn.Module) -> list[str]:
    """Names within a layer of the linear layers that can get an adapter, e.g.
    ``self_attn.q_proj``, over all layers."""
    names: dict[str, None] = {}
    for layer in model.layers:
        for name, module in layer.named_modules():
            if isinstance(module, (nn.Linear, nn.QuantizedLinear)):
                names[name] = None
    return sorted(names)


def choose(model: nn.Module, targets: list[str]) -> list[str]:
    """The linear layers that ``targets`` name. Raises RequestError for a name that is none."""
    available = linear_names(model)
    chosen: dict[str, None] = {}
    for target in targets:
        matches = (
            available
            if target == "all-linear"
            else [name for name in available if target in (name, name.rpartition(".")[2])]
        )
        if not matches:
            raise RequestError(
                f"adapter.targets: this model has no linear layer `{target}`.",
                f"It has: {', '.join(available)}; or `all-linear`.",
            )
        chosen.update(dict.fromkeys(matches))
    if not chosen:
        raise RequestError("adapter.targets is empty.", "Use `all-linear` for all of them.")
    return sorted(chosen)


def attach(model: nn.Module, rank: int, scale: float, dropout: float, names: list[str]) -> None:
    """Freeze the model and put a LoRA on every layer called one of ``names``, in place."""
    model.freeze()
    for layer in model.layers:
        replacements = [
            (name, LoRALinear.from_base(module, r=rank, scale=scale, dropout=dropout))
            for name, module in layer.named_modules()
            if name in names and isinstance(module, (nn.Linear, nn.QuantizedLinear))
        ]
        layer.update_modules(tree_unflatten(replacements))


def create(model: nn.Module, config: AdapterConfig, seed: int) -> list[str]:
    """Put a fresh adapter on the model; returns the names of the layers that got one.

    The first values depend on ``seed`` and on each matrix's own name, so they are the same
    whichever other layers are chosen.
    """
    names = choose(model, config.targets)
    attach(model, config.rank, config.alpha / config.rank, config.dropout, names)
    values = {}
    for name, value in tree_flatten(model.trainable_parameters()):
        if name.endswith("lora_a"):
            bound = 1 / math.sqrt(value.shape[0])
            key = mx.random.key(_name_seed(seed, name))
            value = mx.random.uniform(-bound, bound, value.shape, dtype=mx.float32, key=key)
        else:
            value = mx.zeros(value.shape, dtype=mx.float32)
        values[name] = value
    model.update(tree_unflatten(list(values.items())))
    mx.eval(model.parameters())
    return names


def _name_seed(seed: int, name: str) -> int:
    import hashlib

    digest = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def weights(model: nn.Module) -> dict[str, mx.array]:
    """The adapter's matrices by name."""
    return dict(tree_flatten(model.trainable_parameters()))


def set_weights(model: nn.Module, values: dict[str, mx.array], origin: str) -> None:
    """Give the adapter other values; every matrix must be there, with its shape.

    Raises RequestError that names what differs; ``origin`` says where the values came from.
    """
    own = weights(model)
    wrong = [
        name
        for name in sorted(own.keys() | values.keys())
        if name not in own or name not in values or own[name].shape != values[name].shape
    ]
    if wrong:
        raise RequestError(
            f"The adapter in {origin} is not for this model: {len(wrong)} of its matrices are "
            f"missing, unknown or of another shape, the first being `{wrong[0]}`."
        )
    model.update(tree_unflatten(list(values.items())))
    mx.eval(model.parameters())


def save(
    output: Path,
    values: dict[str, mx.array],
    config: AdapterConfig,
    names: list[str],
    layers: int,
    extra: dict[str, Any],
) -> None:
    """Write ``adapters.safetensors`` and ``adapter_config.json`` to the existing directory
    ``output``, as mlx-lm reads them (it wants the scale, alpha / rank)."""
    save_arrays(output / "adapters.safetensors", values)
    document = {
        "fine_tune_type": "lora",
        "num_layers": layers,
        "lora_parameters": {
            "rank": config.rank,
            "scale": config.alpha / config.rank,
            "alpha": config.alpha,
            "dropout": config.dropout,
            "keys": names,
        },
        **extra,
    }
    (output / "adapter_config.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
