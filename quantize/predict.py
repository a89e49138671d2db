"""The child process that asks llama.cpp what a GGUF is: ``python -m edgetune.quantize.predict``.

Everything is computed on the CPU with a float32 KV cache and without flash attention, so that
the answer depends on the file and not on the machine. The folder holds ``sequence_N.npy`` and
``positions_N.npy`` (int32); ``logits_N.npy`` (positions, vocabulary; float32) is written per
sequence, so that one batch of logits at most is in memory.
"""

import ctypes
import os
import sys
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np

from .child import Child

_LOGITS_BYTES = 64 * 1024 * 1024
_SMALL = 50_000_000


class _Model:
    def __init__(self, path: str, vocab_only: bool) -> None:
        llama_cpp.llama_backend_init()
        parameters = llama_cpp.llama_model_default_params()
        parameters.vocab_only = vocab_only
        parameters.n_gpu_layers = 0
        parameters.check_tensors = True
        # Repacked weights would be multiplied with rounded activations.
        parameters.use_extra_bufts = False
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), parameters)
        if not self.model:
            sys.exit(1)
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.size = llama_cpp.llama_vocab_n_tokens(self.vocab)

    def metadata(self) -> dict[str, str]:
        """All scalar metadata as llama.cpp shows it."""
        found = {}
        for index in range(llama_cpp.llama_model_meta_count(self.model)):
            key = _string(llama_cpp.llama_model_meta_key_by_index, self.model, index)
            found[key] = _string(llama_cpp.llama_model_meta_val_str_by_index, self.model, index)
        return found

    def tokenize(self, text: str, add_special: bool) -> list[int]:
        """Token ids of ``text``; special tokens in it are parsed."""
        data = text.encode("utf-8")
        room = len(data) + 8
        while True:
            ids = (llama_cpp.llama_token * room)()
            count = llama_cpp.llama_tokenize(
                self.vocab, data, len(data), ids, room, add_special, True
            )
            if count >= 0:
                return list(ids[:count])
            room = -count

    def texts(self) -> list[str]:
        return [
            llama_cpp.llama_vocab_get_text(self.vocab, token).decode("utf-8", "replace")
            for token in range(self.size)
        ]

    def ends(self) -> list[int]:
        return [
            token for token in range(self.size) if llama_cpp.llama_vocab_is_eog(self.vocab, token)
        ]


def _string(function: Any, model: Any, index: int) -> str:
    """A string that llama.cpp copies into a buffer and whose length it returns."""
    room = 4096
    while True:
        buffer = ctypes.create_string_buffer(room)
        length = function(model, index, buffer, room)
        if length < room:
            return buffer.value.decode("utf-8", "replace")
        room = length + 1


class _Context:
    def __init__(self, model: _Model, longest: int) -> None:
        self.model = model
        # Logits are kept for a whole batch: long vocabularies get short batches.
        self.batch_size = max(32, min(512, _LOGITS_BYTES // (4 * model.size)))
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = longest
        parameters.n_batch = parameters.n_ubatch = self.batch_size
        parameters.n_seq_max = 1
        # A small model is done before its threads have met, and on a busy machine they wait for
        # each other at every layer.
        small = llama_cpp.llama_model_n_params(model.model) < _SMALL
        parameters.n_threads = parameters.n_threads_batch = 1 if small else min(8, _processors())
        parameters.type_k = parameters.type_v = 0  # GGML_TYPE_F32
        parameters.flash_attn_type = 0  # disabled
        parameters.offload_kqv = parameters.op_offload = False
        self.context = llama_cpp.llama_init_from_model(model.model, parameters)
        if not self.context:
            sys.exit(1)
        self.batch = llama_cpp.llama_batch_init(self.batch_size, 0, 1)

    def logits(self, tokens: np.ndarray, positions: np.ndarray, output: Path) -> None:
        """Evaluate one sequence from an empty cache and write its logits at ``positions``."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)
        shape = (len(positions), self.model.size)
        result = np.lib.format.open_memmap(output, mode="w+", dtype=np.float32, shape=shape)
        rows = {int(position): row for row, position in enumerate(positions)}
        last = max(rows, default=-1)
        for begin in range(0, last + 1, self.batch_size):
            part = tokens[begin : min(begin + self.batch_size, last + 1)]
            self.batch.n_tokens = len(part)
            for index, token in enumerate(part):
                self.batch.token[index] = int(token)
                self.batch.pos[index] = begin + index
                self.batch.n_seq_id[index] = 1
                self.batch.seq_id[index][0] = 0
                self.batch.logits[index] = begin + index in rows
            if llama_cpp.llama_decode(self.context, self.batch) != 0:
                sys.exit(1)
            for index in range(len(part)):
                row = rows.get(begin + index)
                if row is not None:
                    values = llama_cpp.llama_get_logits_ith(self.context, index)
                    result[row] = np.ctypeslib.as_array(values, (self.model.size,))
        result.flush()


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def main(folder: Path) -> None:
    child = Child(folder)
    request = child.request
    count = request["sequences"]
    child.stage("loading the file")
    model = _Model(request["gguf"], vocab_only=count == 0)
    child.stage("tokenizing")
    answer: dict[str, Any] = {
        "metadata": model.metadata(),
        "texts": model.texts(),
        "ends": model.ends(),
        "eos": llama_cpp.llama_vocab_eos(model.vocab),
        "ids": [model.tokenize(text, add_special=False) for text in request["texts"]],
        "spaced_ids": [model.tokenize(" " + text, add_special=False) for text in request["texts"]],
        "prompt_ids": [model.tokenize(text, add_special=False) for text in request["prompts"]],
        "usual_prompt_ids": [model.tokenize(text, add_special=True) for text in request["prompts"]],
    }
    if count:
        child.stage("preparing the evaluation")
        sequences = [np.load(folder / f"sequence_{index}.npy") for index in range(count)]
        context = _Context(model, max(len(sequence) for sequence in sequences))
        for index, sequence in enumerate(sequences):
            child.stage(f"evaluating sequence {index + 1} of {count}")
            positions = np.load(folder / f"positions_{index}.npy")
            context.logits(sequence, positions, folder / f"logits_{index}.npy")
    child.answer(answer)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
