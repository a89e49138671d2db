"""Chat in a plain terminal, or answer one prompt in a pipe.

Standard output holds the answers alone; the prompt sign, notes and figures go to standard error
or to the terminal, so that ``edgetune chat … > answers.txt`` keeps nothing else.
"""

import contextlib
import signal
import sys
import threading
import time
import unicodedata
from collections.abc import Iterator
from types import FrameType

from edgetune import paths
from edgetune.errors import EdgetuneError, Interrupted
from edgetune.serve.engine import Answer, Engine
from edgetune.serve.sampling import Sampling

_HELP = """\
/help          this list
/clear         forget the conversation (the system message stays)
/system TEXT   set the system message; without TEXT: remove it
/exit          leave
A line that ends with \\ goes on in the next one.
Ctrl-C stops an answer and keeps what there is of it; at an empty prompt it
leaves, as Ctrl-D."""


class _Leave(Exception):
    """The user has had enough."""


def answer_once(engine: Engine, prompt: str, sampling: Sampling, system: str = "") -> Answer:
    """Answer one prompt on standard output. Raises Interrupted if Ctrl-C stopped it."""
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": prompt})
    answer = _answer(engine, messages, sampling)
    if answer.finish_reason == "cancelled":
        raise Interrupted("The answer was interrupted.")
    if sys.stderr.isatty():
        _figures(engine, answer)
    return answer


def chat(engine: Engine, sampling: Sampling, system: str = "") -> None:
    """Converse until the user leaves (/exit, Ctrl-D, or Ctrl-C at an empty prompt)."""
    conversation: list[dict[str, str]] = []
    _say(f"{engine.name}, {engine.context} tokens of context. /help lists the commands.")
    with _line_editing():
        while True:
            try:
                line = _read_prompt()
            except _Leave:
                return
            command, _, rest = line.strip().partition(" ")
            match command:
                case "":
                    continue
                case "/exit" | "/quit":
                    return
                case "/help":
                    _say(_HELP)
                case "/clear":
                    conversation.clear()
                    _say("The conversation begins anew.")
                case "/system":
                    system = rest.strip()
                    _say("The system message is set." if system else "No system message.")
                case _ if command.startswith("/"):
                    _say(f"There is no command {command}; /help lists them.")
                case _:
                    _turn(engine, conversation, system, line, sampling)


def _turn(
    engine: Engine,
    conversation: list[dict[str, str]],
    system: str,
    line: str,
    sampling: Sampling,
) -> None:
    """One question and its answer, both added to the conversation unless it failed."""
    asked = [*conversation, {"role": "user", "content": line}]
    first = [{"role": "system", "content": system}] if system else []
    try:
        answer = _answer(engine, first + asked, sampling)
    except EdgetuneError as error:
        _say(f"{error} /clear begins a new conversation.")
        return
    conversation[:] = [*asked, {"role": "assistant", "content": answer.text}]
    _figures(engine, answer)


def _answer(engine: Engine, messages: list[dict[str, str]], sampling: Sampling) -> Answer:
    """Stream an answer to standard output; Ctrl-C ends it with what there is."""
    start = time.perf_counter()
    ids = engine.prompt_ids(messages)
    tokens, parts, reason = 0, [], ""
    with _interruptible() as cancelled:
        for piece in engine.generate(ids, sampling, cancelled):
            tokens += piece.token_id is not None
            parts.append(piece.text)
            reason = piece.finish_reason or reason
            _write(piece.text)
    text = "".join(parts)
    if not text.endswith("\n"):
        _write("\n")
    return Answer(text, reason, len(ids), tokens, time.perf_counter() - start)


@contextlib.contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets. No exception is thrown into the middle of a computation."""
    cancelled = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        cancelled.set()

    previous = signal.signal(signal.SIGINT, stop)
    try:
        yield cancelled
    finally:
        signal.signal(signal.SIGINT, previous)


@contextlib.contextmanager
def _line_editing() -> Iterator[None]:
    """Arrow keys and a history that lasts, where Python has readline."""
    try:
        import readline
    except ImportError:
        yield
        return
    file = paths.home() / "chat_history"
    readline.set_auto_history(True)
    readline.set_history_length(1000)
    # The history is a convenience: a home that cannot be read or written must not stop a chat.
    with contextlib.suppress(OSError):
        readline.read_history_file(file)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)
            readline.write_history_file(file)


def _read_prompt() -> str:
    """What the user typed. Raises _Leave at the end of input or Ctrl-C at an empty prompt."""
    lines: list[str] = []
    while True:
        try:
            line = _input("> " if not lines else ". ")
        except EOFError:
            _say("")
            raise _Leave from None
        except KeyboardInterrupt:
            _say("")
            if lines or _typed():
                lines = []
                continue
            raise _Leave from None
        if not line.endswith("\\"):
            return "\n".join([*lines, line])
        lines.append(line[:-1])


def _input(sign: str) -> str:
    if sys.stdout.isatty():
        return input(sign)
    # Without readline, input() would write the sign into the redirected answers.
    print(sign, end="", file=sys.stderr, flush=True)
    return input()


def _typed() -> str:
    """What stood on the line that Ctrl-C gave up."""
    with contextlib.suppress(ImportError):
        import readline

        return readline.get_line_buffer()
    return ""


def _write(text: str) -> None:
    if text:
        print(_harmless(text) if sys.stdout.isatty() else text, end="", flush=True)


def _harmless(text: str) -> str:
    """Without control characters: a model must not steer the terminal."""
    return "".join(
        character if character in "\n\t" or unicodedata.category(character) != "Cc" else "�"
        for character in text
    )


def _figures(engine: Engine, answer: Answer) -> None:
    rate = answer.completion_tokens / max(answer.seconds, 1e-9)
    used = answer.prompt_tokens + answer.completion_tokens
    end = {"length": ", stopped at the limit", "cancelled": ", stopped"}
    _say(
        f"[{answer.completion_tokens} tokens, {rate:.1f}/s, context {used}/{engine.context}"
        f"{end.get(answer.finish_reason, '')}]"
    )


def _say(text: str) -> None:
    """A line that is no answer."""
    dim, plain = ("\033[2m", "\033[0m") if text and sys.stderr.isatty() else ("", "")
    print(f"{dim}{text}{plain}", file=sys.stderr, flush=True)
