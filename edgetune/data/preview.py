"""A conversation as the model sees it: its tokens with their texts and what they count.

The texts come from the ids and from nothing else, so what is shown is what is trained.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from edgetune.data.template import Example
from edgetune.data.tokenizer import Tokenizer

Kind = Literal["text", "control", "lookalike"]
"""What a stretch is: text, control tokens, or text that reads like a control token and is none."""

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"
_LONGEST_WAIT = 16
# Tokens: a character has at most four bytes, and a text may hold the replacement character itself.


@dataclass(frozen=True)
class Token:
    """One token; several that share a character (bytes of one emoji) have it in the last one."""

    id: int
    text: str
    weight: float
    """How much it counts in the loss; 0: only read."""
    control: bool


@dataclass(frozen=True)
class Piece:
    """A stretch of the text whose tokens are all of one kind."""

    text: str
    weight: float
    kind: Kind

    @property
    def trained(self) -> bool:
        """Whether it is learned."""
        return self.weight > 0

    @property
    def special(self) -> bool:
        """Whether these are control tokens."""
        return self.kind == "control"


@dataclass(frozen=True)
class View:
    """One example, token by token."""

    tokens: list[Token]
    pieces: list[Piece]
    """Joined they are the texts of the tokens."""
    notes: tuple[str, ...] = ()
    """What had to be adjusted for the chat template."""

    @property
    def trained(self) -> int:
        """How many tokens are learned."""
        return sum(token.weight > 0 for token in self.tokens)


def view(example: Example, tokenizer: Tokenizer) -> View:
    """An example with the texts of its tokens."""
    ids = [int(token) for token in example.ids]
    tokens = [
        Token(token, text, float(weight), token in tokenizer.special_ids)
        for token, text, weight in zip(
            ids, token_texts(ids, tokenizer), example.weights, strict=True
        )
    ]
    return View(tokens, list(_pieces(tokens, tokenizer)), tuple(example.notes))


def token_texts(ids: Sequence[int], tokenizer: Tokenizer) -> Iterator[str]:
    """What each token adds to the text of those before it.

    A tokenizer may write a token differently at the beginning of a text, so each one is decoded
    behind its neighbour; bytes of an unfinished character wait for the token that finishes it.
    """
    context = done = 0
    for end, token in enumerate(ids, 1):
        before = tokenizer.decode(ids[context:done], skip_special=False)
        text = tokenizer.decode(ids[context:end], skip_special=False)
        last = end == len(ids) or ids[end] in tokenizer.special_ids or end - done >= _LONGEST_WAIT
        if token in tokenizer.special_ids:
            yield tokenizer.token_text(token)
        elif text.endswith(_UNFINISHED) and not last:
            yield ""
            continue
        else:
            yield text[len(before) :]
        context, done = done, end


def _pieces(tokens: Iterable[Token], tokenizer: Tokenizer) -> Iterator[Piece]:
    for (weight, control), group in groupby(tokens, lambda token: (token.weight, token.control)):
        text = "".join(token.text for token in group)
        if control:
            yield Piece(text, weight, "control")
            continue
        while found := tokenizer.special_text(text):
            before, found, text = text.partition(found)
            if before:
                yield Piece(before, weight, "text")
            yield Piece(found, weight, "lookalike")
        if text:
            yield Piece(text, weight, "text")
