"""llama.cpp through its C interface: one model, one context, one sequence.

Knows tokens and logits; knows nothing of messages, templates or stop texts. The higher-level
``llama_cpp.Llama`` is not used: its chat formatters change prompts, and its evaluation keeps
state that a cancelled answer would leave behind.

**Reuse of the KV cache that cannot change a result.** The numbers llama.cpp computes for a token
depend, in the last bits, on how many tokens were computed together. So prompts are always
computed in chunks of ``CHUNK`` tokens, and only whole chunks of an earlier prompt are kept: the
chunk is then exactly what a fresh start would compute, and an answer never depends on what was
asked before it. The cost is that at most ``CHUNK - 1`` tokens, and the last answer, are computed
again. Where a model cannot forget a part of its state (recurrent ones), everything is computed.
"""

import contextlib
import ctypes
import os
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import llama_cpp
import numpy as np

from edgetune.device import has_amx
from edgetune.errors import EdgetuneError, RequestError

_WHITE = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
# What the tokenizers of training call white space; Python's own has a few characters more.

CHUNK = 256
"""Tokens of a prompt computed together."""

_ERRORS: deque[str] = deque(maxlen=8)
_LOG_ERROR = 4  # ggml.h: 0 none, 1 debug, 2 info, 3 warning, 4 error, 5 continued


@llama_cpp.llama_log_callback
def _log(level: int, text: bytes | None, _data: Any) -> None:
    # Nothing reaches fd 2, where it would break into an answer or a screen; what went wrong is
    # kept for our own message.
    if text and level == _LOG_ERROR:
        _ERRORS.append(text.decode("utf-8", "replace").strip())


# The module keeps the callback alive for as long as llama.cpp may call it.
llama_cpp.llama_log_set(_log, ctypes.c_void_p(0))


def _reasons() -> str:
    """What llama.cpp said went wrong, as the end of a sentence."""
    said = "; ".join(line.rstrip(".") for line in dict.fromkeys(_ERRORS) if line)
    return f": {said}" if said else ""


def default_threads(size: int) -> int:
    """Threads for the CPU's share of a model of ``size`` bytes: a core each, as far as they pay.

    Threads wait for each other, spinning, many times a token. In a small model they wait more
    than they work, and where something else wants the cores as well (a training, say), waiting
    costs a hundredfold. So a thread is given at least 16 MB, about a millisecond of work.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    # Of many cores half are second threads of the first, or slow ones.
    useful = cores if cores <= 4 else cores // 2
    return max(1, min(useful, size // (16 << 20)))


class Model:
    """A GGUF in memory, with room for ``context`` tokens of one conversation."""

    def __init__(self, file: Path, context: int, gpu_layers: int, threads: int) -> None:
        """``gpu_layers``: -1 for all of them, where llama.cpp was built for a GPU.

        Raises EdgetuneError if llama.cpp does not take the file or there is no memory for it.
        """
        self._close = contextlib.ExitStack()
        # A model that is dropped without close() gives its memory back as well.
        weakref.finalize(self, self._close.close)
        self.closed = False
        _ERRORS.clear()
        llama_cpp.llama_backend_init()
        model_params = llama_cpp.llama_model_default_params()
        model_params.n_gpu_layers = gpu_layers if llama_cpp.llama_supports_gpu_offload() else 0
        # llama.cpp repacks weights for AMX where the processor names it, and some virtual machines
        # end a process that then uses it.
        model_params.use_extra_bufts = not has_amx()
        self._model = llama_cpp.llama_model_load_from_file(os.fsencode(file), model_params)
        if not self._model:
            raise EdgetuneError(
                f"llama.cpp cannot load {file}{_reasons()}.",
                "Its architecture may be newer than the installed llama-cpp-python, or the file "
                "is damaged: export or download it again.",
            )
        self._close.callback(llama_cpp.llama_model_free, self._model)
        if not llama_cpp.llama_model_has_decoder(self._model):
            self.close()
            raise EdgetuneError(
                f"The model in {file} does not generate text.", "Name a language model's GGUF."
            )
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = context
        params.n_batch = params.n_ubatch = CHUNK
        params.n_outputs_max = 1  # logits of one position, not of a whole chunk
        params.n_threads = params.n_threads_batch = threads
        # The whole window is kept for sliding-window models too, else no chunk could be kept.
        params.swa_full = True
        params.no_perf = True
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._context:
            self.close()
            raise EdgetuneError(
                f"llama.cpp cannot set up {file} with a context of {context} tokens{_reasons()}.",
                "Ask for a smaller --context, or free some memory.",
            )
        # Freed last in, first out: the context before its model.
        self._close.callback(llama_cpp.llama_free, self._context)
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._memory = llama_cpp.llama_get_memory(self._context)
        self.vocab_size: int = llama_cpp.llama_vocab_n_tokens(self._vocab)
        self.context = context
        self._chunks: list[int] = []
        """Tokens whose whole chunks are in the KV cache, from position 0 on."""

    def close(self) -> None:
        """Free the memory; the model cannot be used afterwards. A second call does nothing."""
        self.closed = True
        self._close.close()

    # Vocabulary

    def text_of(self, token: int) -> str:
        """The token's text as the vocabulary has it; "" for no token (-1)."""
        if token < 0:
            return ""
        return str(llama_cpp.llama_vocab_get_text(self._vocab, token).decode("utf-8", "replace"))

    @property
    def bos(self) -> int:
        """Id of the beginning-of-sequence token, or -1."""
        return int(llama_cpp.llama_vocab_bos(self._vocab))

    @property
    def eos(self) -> int:
        """Id of the end-of-sequence token, or -1."""
        return int(llama_cpp.llama_vocab_eos(self._vocab))

    @property
    def adds_bos(self) -> bool:
        """Does the tokenizer put a BOS before a text (``tokenizer.ggml.add_bos_token``)?"""
        return bool(llama_cpp.llama_vocab_get_add_bos(self._vocab))

    def ends_generation(self, token: int) -> bool:
        return bool(llama_cpp.llama_vocab_is_eog(self._vocab, token))

    def tokenize(self, text: str, control: bool = True) -> list[int]:
        """Token ids; none is added. Control tokens written in the text are parsed, or with
        ``control`` False are text like any other."""
        data = text.encode("utf-8")
        room = len(data) + 8  # a token per byte at most, and a leading space
        ids = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(self._vocab, data, len(data), ids, room, False, control)
        if count < 0:
            raise EdgetuneError(f"llama.cpp failed to tokenize a text of {len(data)} bytes.")
        return list(ids[:count])

    def tokenize_pieces(self, pieces: Sequence[tuple[str, bool]]) -> list[int]:
        """Token ids of a text in stretches, of which only the marked ones are control tokens; they
        are otherwise those of the joined text."""
        ids: list[int] = []
        strips = False
        for index, (text, is_control) in enumerate(pieces):
            if is_control:
                ids += self.tokenize(text)
                strips = bool(self._attributes(ids[-1]) & llama_cpp.LLAMA_TOKEN_ATTR_RSTRIP)
                continue
            if strips:
                text = text.lstrip(_WHITE)
            if index + 1 < len(pieces):
                [following] = self.tokenize(pieces[index + 1][0])
                if self._attributes(following) & llama_cpp.LLAMA_TOKEN_ATTR_LSTRIP:
                    text = text.rstrip(_WHITE)
            ids += self.tokenize(text, control=False)
        return ids

    def _attributes(self, token: int) -> int:
        return int(llama_cpp.llama_vocab_get_attr(self._vocab, token))

    def piece(self, token: int) -> bytes:
        """The bytes a token adds to a text; special (control) tokens add none."""
        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            length = llama_cpp.llama_token_to_piece(self._vocab, token, buffer, room, 0, False)
            if length >= 0:
                return buffer.raw[:length]
            room = -length

    # Prediction

    def prefill(self, ids: Sequence[int], cancelled: Event | None = None) -> bool:
        """Compute ``ids`` from position 0 on, so that the next token can be sampled.

        Returns False if ``cancelled`` was set before the end. ids: 1 to ``context`` of them.
        """
        kept = self._keep(ids)
        for start in range(kept, len(ids), CHUNK):
            if cancelled is not None and cancelled.is_set():
                return False
            chunk = list(ids[start : start + CHUNK])
            self.decode(chunk)
            if len(chunk) == CHUNK:
                self._chunks.extend(chunk)
        return True

    def _keep(self, ids: Sequence[int]) -> int:
        """Drop from the KV cache all but the whole chunks that ``ids`` begins with; how many
        tokens stay. The last token is always computed, since its logits are needed."""
        kept = 0
        limit = min(len(self._chunks), len(ids) - 1)
        while kept + CHUNK <= limit and (
            self._chunks[kept : kept + CHUNK] == list(ids[kept : kept + CHUNK])
        ):
            kept += CHUNK
        self._chunks = self._chunks[:kept]
        if kept and llama_cpp.llama_memory_seq_rm(self._memory, 0, kept, -1):
            return kept
        self._chunks = []
        llama_cpp.llama_memory_clear(self._memory, False)
        return 0

    def decode(self, ids: Sequence[int]) -> None:
        """Compute up to ``CHUNK`` tokens behind those computed so far."""
        tokens = (llama_cpp.llama_token * len(ids))(*ids)  # the batch only points at them
        batch = llama_cpp.llama_batch_get_one(tokens, len(ids))
        _ERRORS.clear()
        status = llama_cpp.llama_decode(self._context, batch)
        if status:
            # What the cache holds now is not known: the next prompt begins afresh.
            self._chunks = []
            raise EdgetuneError(
                f"llama.cpp failed while computing (status {status}){_reasons()}.",
                "The machine may be short of memory: a smaller --context needs less.",
            )

    def logits(self) -> np.ndarray:
        """Logits of the next token, float32 (vocab_size,): a view, valid until ``decode``.

        Raises EdgetuneError if they are not numbers, as a damaged model's are.
        """
        pointer = llama_cpp.llama_get_logits_ith(self._context, -1)
        values = np.ctypeslib.as_array(pointer, shape=(self.vocab_size,))
        if np.isnan(values.max()):
            raise EdgetuneError(
                "The model's predictions are not numbers (NaN): its weights are damaged.",
                "Verify it against the run it comes from, or export it again.",
            )
        return values

    @contextlib.contextmanager
    def sampler(
        self,
        *,
        temperature: float,
        top_k: int,
        top_p: float,
        min_p: float,
        repeat_penalty: float,
        frequency_penalty: float,
        presence_penalty: float,
        seed: int,
        grammar: str | None,
    ) -> Iterator["Sampler"]:
        """The next-token chooser: penalties, then top_k, top_p, min_p, temperature, draw."""
        chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        add = llama_cpp.llama_sampler_chain_add
        with contextlib.ExitStack() as stack:
            stack.callback(llama_cpp.llama_sampler_free, chain)
            if (repeat_penalty, frequency_penalty, presence_penalty) != (1.0, 0.0, 0.0):
                penalties = llama_cpp.llama_sampler_init_penalties(
                    self.vocab_size,
                    self.context,
                    repeat_penalty,
                    frequency_penalty,
                    presence_penalty,
                )
                add(chain, penalties)
            if temperature <= 0:
                add(chain, llama_cpp.llama_sampler_init_greedy())
            else:
                add(chain, llama_cpp.llama_sampler_init_top_k(top_k))
                add(chain, llama_cpp.llama_sampler_init_top_p(top_p, 1))
                add(chain, llama_cpp.llama_sampler_init_min_p(min_p, 1))
                add(chain, llama_cpp.llama_sampler_init_temp(temperature))
                add(chain, llama_cpp.llama_sampler_init_dist(seed))
            rules = None
            if grammar is not None:
                _ERRORS.clear()
                rules = llama_cpp.llama_sampler_init_grammar(
                    self._vocab, grammar.encode("utf-8"), b"root"
                )
                if not rules:
                    raise RequestError(
                        f"llama.cpp does not take the response format{_reasons()}.",
                        "Use a simpler schema.",
                    )
                stack.callback(llama_cpp.llama_sampler_free, rules)
            yield Sampler(self, chain, rules)


class Sampler:
    """Chooses one token after another; made by ``Model.sampler``."""

    def __init__(self, model: Model, chain: Any, grammar: Any) -> None:
        self._model = model
        self._chain = chain
        self._grammar = grammar
        self._ids = np.arange(model.vocab_size, dtype=np.int32)
        self._candidates = np.zeros(
            model.vocab_size,
            dtype=np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)]),
        )

    def sample(self) -> int:
        """The next token. Raises RequestError if the grammar allows none."""
        table = self._candidates
        table["id"] = self._ids  # the samplers reorder the table
        table["logit"] = self._model.logits()
        array = llama_cpp.llama_token_data_array(
            data=table.ctypes.data_as(llama_cpp.llama_token_data_p),
            size=len(table),
            selected=-1,
            sorted=False,
        )
        if self._grammar is not None:
            # Asked first and on its own: llama.cpp ends the process when a token is accepted
            # that its grammar does not allow, so "none is allowed" has to be seen before.
            llama_cpp.llama_sampler_apply(self._grammar, ctypes.byref(array))
            if not np.isfinite(table["logit"]).any():
                raise RequestError(
                    "The model's vocabulary cannot write what the response format asks for.",
                    "Ask without response_format, or use another schema.",
                )
        llama_cpp.llama_sampler_apply(self._chain, ctypes.byref(array))
        token = int(array.data[array.selected].id)
        llama_cpp.llama_sampler_accept(self._chain, token)
        if self._grammar is not None:
            llama_cpp.llama_sampler_accept(self._grammar, token)
        return token
