"""Token by token to text that can be shown: whole characters, no stop texts."""

import codecs
from collections.abc import Callable


class TextStream:
    """Tokens to text: whole characters only, and nothing of a stop text."""

    def __init__(self, stops: tuple[str, ...], strips: bool, piece: Callable[[int], bytes]) -> None:
        self._piece = piece
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = stops
        self._strips = strips
        self._held = ""
        self.stopped = False

    def add(self, token: int) -> str:
        """The text that is certain now that ``token`` has come; sets ``stopped``."""
        text = self._decoder.decode(self._piece(token))
        if self._strips:
            text = text.lstrip()
            self._strips = not text
        self._held += text
        found = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            return self._take(min(found))
        return self._take(len(self._held) - self._beginnings())

    def rest(self) -> str:
        """What was held back, at the end; the bytes of an incomplete character are dropped."""
        return self._take(len(self._held))

    def _take(self, length: int) -> str:
        text, self._held = self._held[:length], self._held[length:]
        return text

    def _beginnings(self) -> int:
        """Length of the longest end of the held text with which a stop text could begin."""
        longest = min(len(self._held), max(map(len, self._stops), default=1) - 1)
        for length in range(longest, 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stops):
                return length
        return 0
