"""How the next token is chosen, and grammars that restrict the choice."""

import json
from dataclasses import dataclass
from typing import Any

from edgetune.errors import RequestError


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen from the model's predictions.

    The order is that of llama.cpp: penalties, top_k, top_p, min_p, temperature.
    """

    temperature: float = 0.7
    """0: always the most likely token; the rest then has no effect."""
    top_p: float = 0.95
    top_k: int = 40
    """0: all tokens."""
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    """1: none. The penalties look at the answer so far."""
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    max_tokens: int | None = None
    """None: as many as the context holds."""
    seed: int | None = None
    """None: another one each time."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer; they are not part of it."""
    grammar: str | None = None
    """A GBNF grammar that the answer follows (``json_grammar``)."""

    def __post_init__(self) -> None:
        """Raises RequestError for values that cannot be sampled with."""
        for name, holds, wanted in (
            ("temperature", 0 <= self.temperature < float("inf"), "0 or more"),
            ("top_p", 0 < self.top_p <= 1, "more than 0 and at most 1"),
            ("top_k", self.top_k >= 0, "0 or more"),
            ("min_p", 0 <= self.min_p <= 1, "from 0 to 1"),
            ("repeat_penalty", 0 < self.repeat_penalty < float("inf"), "more than 0"),
            ("frequency_penalty", -2 <= self.frequency_penalty <= 2, "from -2 to 2"),
            ("presence_penalty", -2 <= self.presence_penalty <= 2, "from -2 to 2"),
            ("max_tokens", self.max_tokens is None or self.max_tokens > 0, "1 or more"),
            ("stop", all(self.stop), "texts of at least one character"),
        ):
            if not holds:
                raise RequestError(f"{name} is {getattr(self, name)!r}.", f"It must be {wanted}.")


def json_grammar(schema: dict[str, Any] | None = None) -> str:
    """A grammar for JSON that fits ``schema`` (any JSON object if None).

    Raises RequestError if the schema cannot be turned into a grammar.
    """
    from llama_cpp.llama_grammar import JSON_GBNF, json_schema_to_gbnf

    if schema is None:
        return str(JSON_GBNF)
    try:
        return str(json_schema_to_gbnf(json.dumps(schema)))
    except Exception as error:  # the converter raises whatever it stumbles upon
        raise RequestError(
            f"The JSON schema cannot be followed: {type(error).__name__}: {error}.",
            "Use a simpler schema.",
        ) from None
