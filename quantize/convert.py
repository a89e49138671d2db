"""Model directory -> GGUF, one tensor at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np
from gguf import GGMLQuantizationType, LlamaFileType

from edgetune.errors import RequestError, explain_os_error
from edgetune.paths import atomic_file

from .architectures import ROPE_FREQS, Model, Tensor, permute, read_json
from .vocabulary import Vocabulary, read_vocabulary
from .weights import Weights

FileType = Literal["f32", "f16", "bf16"]
_FILE_TYPES = {
    "f32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "bf16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
}
# Tensors without counterpart in a GGUF: computed from the configuration instead.
_IGNORED = ("rotary_emb.inv_freq",)


@dataclass(frozen=True)
class Conversion:
    """A GGUF that was written: its size in ``bytes`` and how many ``weights`` it holds."""

    file: Path
    architecture: str
    file_type: str
    tensors: int
    weights: int
    bytes: int
    notes: tuple[str, ...] = ()
    """What the GGUF cannot express; each a sentence for the user."""


def convert(
    model_dir: Path,
    output: Path,
    file_type: FileType = "bf16",
    *,
    chat_template: str | None = None,
    name: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Conversion:
    """Write the model in ``model_dir`` (Hugging Face layout) to the GGUF ``output``.

    ``chat_template`` wins over the model's own; ``name`` is what llama.cpp shows (default: the
    directory's name); ``progress`` is called with tensors done and in all. Vectors (norms,
    biases) stay float32 in every file type.

    Raises RequestError for a model that cannot be converted, and EdgetuneError where writing
    fails; ``output`` is then what it was before.
    """
    if file_type not in _FILE_TYPES:
        raise RequestError(
            f"Unknown file type {file_type!r}.", f"Choose one of {', '.join(_FILE_TYPES)}."
        )
    model = Model(model_dir)
    weights = Weights(model_dir)
    tensors = _plan(model, weights)
    vocabulary = read_vocabulary(model_dir)
    vocabulary.pad(model.vocabulary, model_dir)
    template = chat_template if chat_template is not None else own_template(model_dir)
    if template is not None:
        # The prompt is exactly what the template renders, as it was in training. Were this
        # true, clients that tokenize a rendered prompt the usual way would add a second BOS.
        vocabulary.add_bos = False
    try:
        with atomic_file(output) as temporary:
            writer = gguf.GGUFWriter(temporary, model.family.architecture)
            try:
                _write_metadata(writer, model, vocabulary, template, name, file_type)
                written = _write_tensors(writer, model, weights, tensors, file_type, progress)
            finally:
                writer.close()
            size = temporary.stat().st_size
    except OSError as error:
        raise explain_os_error(error, "writing the GGUF") from error
    return Conversion(
        file=output,
        architecture=model.family.architecture,
        file_type=file_type,
        tensors=len(tensors) + (model.rope_freqs() is not None),
        weights=written,
        bytes=size,
        notes=tuple(vocabulary.notes),
    )


def own_template(model_dir: Path) -> str | None:
    """The chat template that a model directory brings along, if any."""
    path = model_dir / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    path = model_dir / "tokenizer_config.json"
    template: Any = read_json(path).get("chat_template") if path.is_file() else None
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template}
        template = named.get("default")
    return template if isinstance(template, str) else None


def _plan(model: Model, weights: Weights) -> list[Tensor]:
    """All tensors to write, checked against what the files hold."""
    tensors = model.tensors(weights.entries.__contains__)
    for tensor in tensors:
        entry = weights.entries.get(tensor.source)
        if entry is None:
            raise RequestError(
                f"{weights.model_dir}: the tensor {tensor.source} is missing from the weights.",
                "Download or save the model again.",
            )
        if entry.shape != tensor.shape:
            raise RequestError(
                f"{entry.file}: {tensor.source} has the shape {list(entry.shape)}, but "
                f"{model.path.name} asks for {list(tensor.shape)}.",
                "Use the configuration that belongs to the weights.",
            )
    # A tied model's file may hold the output matrix all the same.
    known = {tensor.source for tensor in tensors} | {"lm_head.weight"}
    for name, entry in weights.entries.items():
        if name not in known and not name.endswith(_IGNORED):
            raise RequestError(
                f"{entry.file}: {model.config['architectures'][0]} has no tensor {name}.",
                "Fuse adapters into the model and dequantize it before converting.",
            )
    return tensors


def _write_metadata(
    writer: gguf.GGUFWriter,
    model: Model,
    vocabulary: Vocabulary,
    template: str | None,
    name: str | None,
    file_type: str,
) -> None:
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(name or model.path.resolve().parent.name)
    writer.add_file_type(_FILE_TYPES[file_type][1])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    model.write_metadata(writer)
    vocabulary.write(writer)
    if template is not None:
        writer.add_chat_template(template)


def _write_tensors(
    writer: gguf.GGUFWriter,
    model: Model,
    weights: Weights,
    tensors: list[Tensor],
    file_type: str,
    progress: Callable[[int, int], None] | None,
) -> int:
    """Announce all tensors, then write them in turn; the number of weights."""
    freqs = model.rope_freqs()
    if freqs is not None:
        writer.add_tensor_info(
            ROPE_FREQS, freqs.shape, freqs.dtype, freqs.nbytes, GGMLQuantizationType.F32
        )
    count = 0
    for tensor in tensors:
        kind = _tensor_type(tensor, file_type)
        size = int(np.prod(tensor.shape))
        # The dtype is only a label here: with raw_dtype given the shape counts weights.
        writer.add_tensor_info(
            tensor.target,
            tensor.shape,
            np.dtype(np.float32),
            size * (4 if kind == GGMLQuantizationType.F32 else 2),
            kind,
        )
        count += size
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    if freqs is not None:
        writer.write_tensor_data(freqs)
    for index, tensor in enumerate(tensors):
        data = weights.read(tensor.source)
        if tensor.heads is not None:
            data = permute(data, tensor.heads)
        where = weights.entries[tensor.source].file
        writer.write_tensor_data(_encode(data, _tensor_type(tensor, file_type), tensor, where))
        if progress is not None:
            progress(index + 1, len(tensors))
    return count


def _tensor_type(tensor: Tensor, file_type: str) -> GGMLQuantizationType:
    return _FILE_TYPES[file_type][0] if len(tensor.shape) > 1 else GGMLQuantizationType.F32


def _encode(
    data: np.ndarray, kind: GGMLQuantizationType, tensor: Tensor, where: Path
) -> np.ndarray:
    if not np.isfinite(data).all():
        raise RequestError(
            f"{where}: {tensor.source} holds values that are not finite numbers.",
            "The training that made it diverged: use an earlier checkpoint.",
        )
    if kind == GGMLQuantizationType.F16:
        with np.errstate(over="ignore"):
            data = data.astype(np.float16, copy=False)
        if not np.isfinite(data).all():
            raise RequestError(
                f"{where}: {tensor.source} holds values too large for f16.",
                "Convert to bf16 or f32 instead.",
            )
        return np.ascontiguousarray(data)
    return gguf.quants.quantize(np.ascontiguousarray(data, dtype=np.float32), kind)
