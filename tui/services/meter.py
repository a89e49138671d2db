"""How long an answer takes and how many tokens it has."""

import time

_FEWEST_FOR_SPEED = 5


class Meter:
    """Counts tokens and time of one answer."""

    def __init__(self) -> None:
        self._asked = time.monotonic()
        self._first = 0.0
        self._last = 0.0
        self._pieces = 0
        self._prompt = 0
        self._tokens = 0

    def count(self) -> None:
        """One more piece came: about one token."""
        self._last = time.monotonic()
        self._first = self._first or self._last
        self._pieces += 1

    def exact(self, prompt: int, completion: int) -> None:
        """The server's own counts."""
        self._prompt, self._tokens = prompt, completion

    def stop(self) -> None:
        """No more pieces will come."""
        self._tokens = self._tokens or self._pieces

    def running(self) -> str:
        """While the answer comes."""
        return f"{_tokens(self._pieces)}{self._speed(self._pieces)} · Esc stops"

    def summary(self, ending: str) -> str:
        """Once it has ended, with the reason: an OpenAI finish reason, stopped or failed."""
        reason = {"stop": "", "length": " · cut at the length limit", "stopped": " · stopped"}
        wait = f" · {self._first - self._asked:.2f} s to the first" if self._first else ""
        end = reason.get(ending, f" · {ending}")
        return f"{_tokens(self._tokens)}{self._speed(self._tokens)}{wait}{end}"

    def fill(self, context: int) -> str:
        """How full the context is; empty where the server did not get to count."""
        if not self._prompt:
            return ""
        used = self._prompt + self._tokens
        return f"{used:,} of {context:,} tokens of context used"

    def _speed(self, tokens: int) -> str:
        # The first token's time is the prompt's, so speed is that of the others; of a few
        # tokens it would be that of the network buffers.
        seconds = self._last - self._first
        if tokens < _FEWEST_FOR_SPEED or not seconds:
            return ""
        return f" · {(tokens - 1) / seconds:.1f} tok/s"


def _tokens(count: int) -> str:
    return f"{count:,} token{'s' if count != 1 else ''}"
