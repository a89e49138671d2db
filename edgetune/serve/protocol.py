"""What a chat completion request may hold, and what it means to the engine.

Every field is one of four: it works; it has no effect on the answer and is accepted; it holds its
neutral value and is accepted; or the request is refused. Nothing that would change the answer is
ignored silently.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgetune.errors import RequestError
from edgetune.serve.sampling import Sampling, json_grammar

_HARMLESS = {
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
    "prompt_cache_retention", "parallel_tool_calls",
}  # fmt: skip
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "best_of": (1,),
    "echo": (False,),
}
"""Fields that are not supported, with the values that ask for nothing (null is one as well)."""


class InvalidField(RequestError):
    """A field of the request that cannot be met; ``param`` is its name."""

    def __init__(self, param: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.param = param


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["text"]
    text: str


class _Message(BaseModel):
    # A message may come back as some client received it, with fields such as `refusal: null`.
    model_config = ConfigDict(extra="allow")

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]

    def plain(self) -> dict[str, str]:
        used = [name for name, value in (self.model_extra or {}).items() if value not in (None, [])]
        if used:
            raise InvalidField(
                "messages", f"`{used[0]}` in a message is not supported.", "Send role and content."
            )
        text = self.content
        if not isinstance(text, str):
            text = "".join(part.text for part in text)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class _StreamOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    include_usage: bool = False
    include_obfuscation: bool = False


class _JsonSchema(BaseModel):
    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    definition: dict[str, Any] = Field(alias="schema")


class _ResponseFormat(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["text", "json_object", "json_schema"]
    json_schema: _JsonSchema | None = None


class ChatRequest(BaseModel):
    """The body of ``POST /v1/chat/completions``; null stands for a field's default."""

    model_config = ConfigDict(extra="allow")

    messages: list[_Message] = Field(min_length=1)
    model: str | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    n: Literal[1] | None = None
    response_format: _ResponseFormat | None = None

    @property
    def includes_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    def conversation(self) -> list[dict[str, str]]:
        """The messages as the engine takes them. Raises InvalidField."""
        return [message.plain() for message in self.messages]

    def sampling(self) -> Sampling:
        """How to generate. Raises RequestError for values that cannot be sampled with."""
        names = (
            "temperature", "top_p", "top_k", "min_p", "repeat_penalty", "frequency_penalty",
            "presence_penalty", "seed",
        )  # fmt: skip
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        limits = [n for n in (self.max_tokens, self.max_completion_tokens) if n is not None]
        return Sampling(
            **given,
            max_tokens=min(limits, default=None),
            stop=tuple(stop),
            grammar=self._grammar(),
        )

    def _grammar(self) -> str | None:
        wanted = self.response_format
        if wanted is None or wanted.type == "text":
            return None
        if wanted.type == "json_object":
            return json_grammar()
        if wanted.json_schema is None:
            raise InvalidField("response_format", "response_format has no json_schema.")
        return json_grammar(wanted.json_schema.definition)


def parse(body: bytes) -> ChatRequest:
    """Read a request. Raises InvalidField or RequestError with what is wrong with it."""
    try:
        request = ChatRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            raise RequestError(f"The request is not valid JSON: {first['msg']}.") from None
        place = ".".join(map(str, first["loc"]))
        raise InvalidField(place, f"{place or 'The request'}: {first['msg']}.") from None
    for name, value in (request.model_extra or {}).items():
        if name in _HARMLESS or value is None:
            continue
        if name not in _NEUTRAL:
            raise InvalidField(name, f"`{name}` is not supported.", "Leave it out.")
        if value not in _NEUTRAL[name]:
            raise InvalidField(
                name, f"`{name}` is not supported with the value {value!r}.", "Leave it out."
            )
    return request
