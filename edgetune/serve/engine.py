"""A GGUF as a conversation partner: messages in, text out, exactly as the model was trained.

The prompt is rendered from the chat template inside the GGUF by the renderer that training uses,
and tokenized with its special tokens parsed, so the model sees the very token ids it was trained
on. Generation stops at every token that llama.cpp calls an end of generation, at a stop text, at
the token limit, when the context is full, or when it is cancelled.
"""

import random
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from edgetune import runs
from edgetune.data.conversation import Message
from edgetune.data.templates.builtin import PLAIN
from edgetune.data.templates.provenance import Controls, is_text, pieces, trace_prompt
from edgetune.data.templates.rendering import AnyMessage, ChatTemplate, as_dict
from edgetune.errors import EdgetuneError, RequestError
from edgetune.serve.header import read_header
from edgetune.serve.native import Model, default_threads
from edgetune.serve.sampling import Sampling
from edgetune.serve.text import TextStream

DEFAULT_CONTEXT = 8192
"""Tokens of context unless asked for more: memory grows with it."""

Messages = Sequence[AnyMessage]


@dataclass(frozen=True)
class Piece:
    """A part of an answer as it is generated: one per token, and a last one.

    ``text`` is "" while a character or a possible stop text is incomplete. The last piece has no
    token but the ``finish_reason``: "stop", "length" or "cancelled".
    """

    text: str
    token_id: int | None = None
    finish_reason: str | None = None


@dataclass(frozen=True)
class Answer:
    """A whole answer; ``seconds`` from the request to its end."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float


class PromptTooLong(RequestError):
    """The conversation does not fit into the context."""


class Engine:
    """A GGUF loaded in llama.cpp. One answer is generated at a time; others wait."""

    def __init__(
        self,
        gguf: Path | str,
        context: int | None = None,
        gpu_layers: int = -1,
        threads: int | None = None,
    ) -> None:
        """``context``: tokens of prompt and answer together (the model's own length, at most
        ``DEFAULT_CONTEXT``, if None). ``gpu_layers``: -1 for all, where there is a GPU.
        ``threads``: for the processor's part of the work; None for as many as help.

        Raises RequestError if the file is no whole GGUF model or ``context`` is more than the
        model was made for, EdgetuneError if llama.cpp cannot load it.
        """
        self.file = Path(gguf)
        header = read_header(self.file)
        longest = header.context_length or DEFAULT_CONTEXT
        if context is not None and not 0 < context <= longest:
            raise RequestError(
                f"A context of {context} tokens was asked for, {self.file} allows 1 to {longest}.",
                "Choose another --context or leave it out.",
            )
        self.context = context or min(longest, DEFAULT_CONTEXT)
        self.name = self.file.stem
        self.note = ""
        """What the user should know about this model, or ""."""
        self._lock = threading.Lock()
        threads = threads or default_threads(self.file.stat().st_size)
        self._model = Model(self.file, self.context, gpu_layers, threads)
        source = header.metadata.get("tokenizer.chat_template")
        if not source:
            self.note = (
                f"{self.file} has no chat template: the plain template for base models is used."
            )
        try:
            self.chat_template = ChatTemplate(
                source or PLAIN,
                bos=self._model.text_of(self._model.bos),
                eos=self._model.text_of(self._model.eos),
                name="model's" if source else "plain",
            )
        except RequestError:
            self._model.close()
            raise
        self._characters = header.characters()
        self._controls = Controls(header.control_texts())
        # A template that writes " answer" has a space that is not part of the answer.
        self._strips_space = self.chat_template.spaces_answers()

    def close(self) -> None:
        """Free the model's memory, after an answer in progress has ended."""
        with self._lock:
            self._model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def prompt_ids(self, messages: Messages) -> list[int]:
        """Token ids of the conversation with the beginning of the next answer.

        A BOS that the template does not write is added only if the GGUF asks for one, as every
        llama.cpp program does. A control token that is written out in a message is text like any
        other. Raises RequestError if the template refuses the messages.
        """
        self._check_open()
        template = self.chat_template
        dicts = [as_dict(item) if isinstance(item, Message) else dict(item) for item in messages]
        is_text(dicts)
        text, places = trace_prompt(template, self._controls, dicts)
        stretches = pieces(text, places)
        if self._characters is not None:
            plain = "".join(piece for piece, control in stretches if not control)
            if unknown := sorted(set(plain) - self._characters, key=plain.index):
                raise RequestError(
                    f"This model's vocabulary cannot write the character {unknown[0]!r}.",
                    "Leave it out.",
                )
        written_out = places != self._controls.places(text)
        ids = self._model.tokenize_pieces(stretches) if written_out else self._model.tokenize(text)
        if self._model.adds_bos and not (template.bos and text.startswith(template.bos)):
            ids.insert(0, self._model.bos)
        return ids

    def stream(
        self,
        messages: Messages,
        sampling: Sampling | None = None,
        cancelled: threading.Event | None = None,
    ) -> Generator[Piece, None, None]:
        """The answer to ``messages``, piece by piece; see ``generate``."""
        return self.generate(self.prompt_ids(messages), sampling, cancelled)

    def complete(self, messages: Messages, sampling: Sampling | None = None) -> Answer:
        """The whole answer to ``messages``. Raises as ``prompt_ids`` and ``generate``."""
        start = time.perf_counter()
        ids = self.prompt_ids(messages)
        pieces = list(self.generate(ids, sampling))
        return Answer(
            text="".join(piece.text for piece in pieces),
            finish_reason=pieces[-1].finish_reason or "",
            prompt_tokens=len(ids),
            completion_tokens=len(pieces) - 1,
            seconds=time.perf_counter() - start,
        )

    def generate(
        self,
        ids: Sequence[int],
        sampling: Sampling | None = None,
        cancelled: threading.Event | None = None,
    ) -> Generator[Piece, None, None]:
        """Go on from the token ids of a prompt.

        Setting ``cancelled`` ends the answer after the token being computed. Raises
        PromptTooLong if the prompt leaves no room for an answer, RequestError for a grammar that
        cannot be followed, EdgetuneError if llama.cpp fails.
        """
        sampling = sampling or Sampling()
        room = self.context - len(ids)
        if room < 1:
            raise PromptTooLong(
                f"The conversation has {len(ids)} tokens, the context holds {self.context} with "
                "the answer.",
                "Shorten it, begin a new one, or load the model with a larger --context.",
            )
        if not ids:
            raise RequestError("The conversation is empty.", "Send at least one message.")
        limit = min(room, sampling.max_tokens or room)
        text = TextStream(sampling.stop, self._strips_space, self._model.piece)
        with self._lock:
            self._check_open()
            if not self._model.prefill(ids, cancelled):
                yield Piece("", None, "cancelled")
                return
            yield from self._tokens(sampling, limit, text, cancelled)

    def _check_open(self) -> None:
        # llama.cpp would read freed memory.
        if self._model.closed:
            raise EdgetuneError(f"The model {self.name} has been closed.", "Load it again.")

    def _tokens(
        self, sampling: Sampling, limit: int, text: TextStream, cancelled: threading.Event | None
    ) -> Generator[Piece, None, None]:
        seed = random.getrandbits(31) if sampling.seed is None else sampling.seed
        with self._model.sampler(
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            min_p=sampling.min_p,
            repeat_penalty=sampling.repeat_penalty,
            frequency_penalty=sampling.frequency_penalty,
            presence_penalty=sampling.presence_penalty,
            seed=seed % 0xFFFFFFFF,  # 32 bits, and the highest means "random" to llama.cpp
            grammar=sampling.grammar,
        ) as sampler:
            for count in range(1, limit + 1):
                if cancelled is not None and cancelled.is_set():
                    yield Piece(text.rest(), None, "cancelled")
                    return
                token = sampler.sample()
                if self._model.ends_generation(token):
                    yield Piece(text.rest(), None, "stop")
                    return
                yield Piece(text.add(token), token)
                if text.stopped:
                    yield Piece("", None, "stop")
                    return
                if count < limit:
                    self._model.decode([token])
            yield Piece(text.rest(), None, "length")


def load(path: Path | str, context: int | None = None) -> Engine:
    """Load a GGUF to talk with (``edgetune.load``); see ``Engine`` for the errors.

    ``with edgetune.load("model.gguf") as engine: engine.complete([...]).text``
    """
    return Engine(path, context)


def find_gguf(target: str, runs_dir: Path) -> Path:
    """The GGUF that ``target`` names: a file, or a run, whose newest export is meant.

    Raises RequestError if there is neither, or if the run has not been exported.
    """
    path = Path(target)
    if path.is_file():
        return path
    if path.suffix == ".gguf":
        raise RequestError(f"There is no file {path}.", "Check the path.")
    if (path / "config.json").is_file():
        raise RequestError(
            f"{path} is a model directory, and chatting takes a GGUF.",
            "Train on it and `edgetune export` the run.",
        )
    run = runs.open_run(target, runs_dir)
    files = run.gguf_files()
    if not files:
        raise RequestError(
            f"The run {run.path} has not been exported yet.",
            f"Export it first: edgetune export {target}",
        )
    return files[-1]
