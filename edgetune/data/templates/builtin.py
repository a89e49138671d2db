"""The chat templates that edgetune brings, and which template a run uses.

Each built-in one follows the form that its family was published with. Where the form has no place
for them, a system message stands before the first question, tools are described in the system
message, calls and results stand in tags inside the turns, and reasoning stands in ``<think>``
tags. A marker that the vocabulary has no token for is written as plain text, and answers then end
with the model's own end token: a tuned base model needs no new tokens, which would have to be
learned from nothing.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from edgetune.config import DataConfig
from edgetune.data.templates.rendering import ChatTemplate
from edgetune.data.tokenizer import Tokenizer
from edgetune.errors import RequestError, explain_os_error

# What all share. `said` is an assistant's text with its reasoning and calls (macros are slow, so
# only where there are any), `first.text` the system message with the description of the tools.
_COMMON = r"""{%- macro said(message) -%}
{%- if message.reasoning_content -%}
{{- '<think>\n' + message.reasoning_content + '\n</think>\n\n' -}}
{%- endif -%}
{{- message.content -}}
{%- for call in message.tool_calls or [] -%}
{%- set call = call.function or call -%}
{{- '' if loop.first and not message.content else '\n' -}}
{{- '<tool_call>\n{"name": ' + (call.name | tojson) -}}
{{- ', "arguments": ' + (call.arguments | tojson) + '}\n</tool_call>' -}}
{%- endfor -%}
{%- endmacro -%}
{%- set first = namespace(text='') -%}
{%- if messages and messages[0].role == 'system' -%}
{%- set first.text = messages[0].content -%}
{%- endif -%}
{%- if tools -%}
{%- if first.text -%}
{%- set first.text = first.text + '\n\n' -%}
{%- endif -%}
{%- set first.text = first.text + 'These functions can be called:\n<tools>' -%}
{%- for tool in tools -%}
{%- set first.text = first.text + '\n' + (tool | tojson) -%}
{%- endfor -%}
{%- set first.text = first.text + '\n</tools>\nA call is written as\n<tool_call>\n'
  + '{"name": "function", "arguments": {"argument": "value"}}\n</tool_call>' -%}
{%- endif -%}
"""

_SAID = "(said(message) if message.reasoning_content or message.tool_calls else message.content)"
_ASKED = (
    "('<tool_response>\\n' + message.content + '\\n</tool_response>' if message.role == 'tool' "
    "else message.content)"
)

_LOOP = """\
{%- for message in messages -%}
{%- if message.role == 'system' -%}
{%- if not loop.first -%}SYSTEM{%- endif -%}
{%- elif message.role == 'user' or message.role == 'tool' -%}USER
{%- elif message.role == 'assistant' -%}ASSISTANT
{%- else -%}
{{- raise_exception('unknown role: ' + message.role) -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}ANSWER{%- endif -%}
"""


@dataclass(frozen=True)
class _Family:
    """How a family writes its turns: what stands before and after each text."""

    user: tuple[str, str]
    assistant: tuple[str, str]
    """Without its end."""
    answer: str
    """What begins an answer: that before an assistant's text, less a space that belongs to it."""
    end: str = ""
    """The token that ends an answer; the model's own where it is "" or the vocabulary lacks it."""
    after: str = ""
    """What follows the end."""
    system: tuple[str, str] | None = None
    """None: a system message stands before the first user's text."""
    default: str = ""
    """The system message where there is none."""
    trims: bool = False
    """Whether texts are written without white space around them."""
    always_begins: bool = False
    """Whether the beginning-of-text token is written even if the tokenizer adds none by itself."""

    def source(self, control_texts: Collection[str] = (), adds_bos: bool = False) -> str:
        """The Jinja template for a model with these control tokens, whose tokenizer begins a text
        with a beginning-of-text token or not."""
        end = _quote(self.end) if self.end in control_texts else "eos_token"
        spaced = self.assistant[0] == " "
        asked = f"({_ASKED} | trim)" if self.trims else _ASKED
        said = f"({_SAID} | trim)" if self.trims or spaced else _SAID
        before = _quote(self.assistant[0])
        if spaced and self.user[1].endswith("\n"):
            # No space before a tag: it could share a token with the newline before it.
            tags = "message.reasoning_content or (message.tool_calls and not message.content)"
            before = f"('' if {tags} else ' ')"
        answer = _write(before, said, end, _quote(self.after))
        if self.system is None:
            # There may be no user's turn before it.
            refuse = "{{- raise_exception('the system message needs a user message after it') -}}"
            answer = "{%- if first.text -%}" + refuse + "{%- endif -%}" + answer
            opening = ""
            later = "{{- raise_exception('a system message must be the first message') -}}"
            text = f"(first.text + '\\n\\n' if first.text else '') + {asked}"
            user = _write(_quote(self.user[0]), f"({text})", _quote(self.user[1]))
            user += "{%- set first.text = '' -%}"
        else:
            opening = "{%- if first.text -%}" + self._system("first.text") + "{%- endif -%}"
            later = self._system("message.content")
            user = _write(_quote(self.user[0]), asked, _quote(self.user[1]))
        if self.default:
            opening = f"{{%- set first.text = first.text or {_quote(self.default)} -%}}" + opening
        loop = _LOOP.replace("SYSTEM", later).replace("USER", user)
        loop = loop.replace("ASSISTANT", answer).replace(
            "ANSWER", f"{{{{- {_quote(self.answer)} -}}}}"
        )
        bos = "{{- bos_token -}}" if adds_bos or self.always_begins else ""
        return _COMMON + bos + opening + loop

    def _system(self, text: str) -> str:
        before, after = self.system or ("", "")
        text = f"({text} | trim)" if self.trims else text
        return _write(_quote(before), text, _quote(after))


def _write(*expressions: str) -> str:
    return "{{- " + " + ".join(expressions) + " -}}"


_EOS = "\0"
# In a family's texts, the place of the model's own end token.


def _quote(text: str) -> str:
    return "'" + text.replace("\n", "\\n").replace(_EOS, "' + eos_token + '") + "'"


_FAMILIES = {
    "chatml": _Family(
        system=("<|im_start|>system\n", "<|im_end|>\n"),
        user=("<|im_start|>user\n", "<|im_end|>\n"),
        assistant=("<|im_start|>assistant\n", ""),
        answer="<|im_start|>assistant\n",
        end="<|im_end|>",
        after="\n",
    ),
    "alpaca": _Family(
        system=("", "\n\n"),
        user=("### Instruction:\n", "\n\n"),
        assistant=("### Response:\n", ""),
        answer="### Response:\n",
        after="\n\n",
        default="Below is an instruction that describes a task. Write a response that "
        "appropriately completes the request.",
    ),
    "llama-3": _Family(
        system=("<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"),
        user=("<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"),
        assistant=("<|start_header_id|>assistant<|end_header_id|>\n\n", ""),
        answer="<|start_header_id|>assistant<|end_header_id|>\n\n",
        end="<|eot_id|>",
        trims=True,
    ),
    "mistral": _Family(user=("[INST] ", " [/INST]"), assistant=(" ", ""), answer=""),
    "gemma": _Family(
        user=("<start_of_turn>user\n", "<end_of_turn>\n"),
        assistant=("<start_of_turn>model\n", ""),
        answer="<start_of_turn>model\n",
        end="<end_of_turn>",
        after="\n",
        trims=True,
    ),
    "phi-3": _Family(
        system=("<|system|>\n", "<|end|>\n"),
        user=("<|user|>\n", "<|end|>\n"),
        assistant=("<|assistant|>\n", ""),
        answer="<|assistant|>\n",
        end="<|end|>",
        after="\n",
    ),
    "zephyr": _Family(
        system=("<|system|>\n", f"{_EOS}\n"),
        user=("<|user|>\n", f"{_EOS}\n"),
        assistant=("<|assistant|>\n", ""),
        answer="<|assistant|>\n",
        after="\n",
    ),
}

_PLAIN = _Family(
    system=("", "\n\n"),
    user=("", "\n"),
    assistant=(" ", ""),
    answer="",
    always_begins=True,
)

PLAIN = _PLAIN.source()
"""Template for a base model without one of its own: no token that the base has not seen.

The answer begins with the space that words have in running text and ends with the model's own
end token; the prompt ends with the newline before it, so no token lies across the border.
"""

_ONE_LINE = replace(_PLAIN, system=("", " "), user=("", ""))
PLAIN_ONE_LINE = (
    _ONE_LINE.source()
    .replace("first.text + ' '", "(first.text | replace('\\n', ' ')) + ' '")
    .replace("message.content + ' '", "(message.content | replace('\\n', ' ')) + ' '")
    .replace(_ASKED, f"({_ASKED} | replace('\\n', ' '))")
)
"""The same for a vocabulary that cannot write a newline; only the answer's space divides."""

BUILT_IN = ("plain", *_FAMILIES)
"""Names of the built-in templates."""


def choose_template(
    tokenizer: Tokenizer, data: DataConfig | str = "auto", now: datetime | None = None
) -> ChatTemplate:
    """The chat template that the settings name, or only a ``data.template``: the model's own where
    it has one (auto), a built-in one, or that in a file. ``now`` is the time that it may write,
    the clock's if None.

    Raises RequestError if there is no such template, if it is damaged, or if a built-in one has
    no token to end with.
    """
    data = DataConfig(template=data) if isinstance(data, str) else data
    source, name = _find(tokenizer, data.template)
    return ChatTemplate(
        source,
        tokenizer.bos,
        tokenizer.eos,
        name,
        now,
        thinking=data.thinking,
        variables=data.template_variables,
    )


def _find(tokenizer: Tokenizer, choice: str) -> tuple[str, str]:
    if choice == "auto" and tokenizer.chat_template is not None:
        return tokenizer.chat_template, "model"
    if choice in ("auto", *BUILT_IN):
        if not tokenizer.eos:
            raise RequestError(
                "The model's tokenizer names no end-of-text token, so an answer could never end.",
                'Add "eos_token" to its tokenizer_config.json.',
            )
        if choice in _FAMILIES:
            controls = {tokenizer.token_text(i) for i in tokenizer.special_ids}
            return _FAMILIES[choice].source(controls, tokenizer.adds_bos), choice
        return (PLAIN_ONE_LINE if tokenizer.unknown_text("a\nb") else PLAIN), "plain"
    file = Path(choice).expanduser()
    if not file.is_file():
        raise RequestError(
            f"There is no chat template `{choice}`.",
            f"Choose auto, {', '.join(BUILT_IN)}, or a file with a Jinja template.",
        )
    try:
        return file.read_text(encoding="utf-8"), file.name
    except UnicodeDecodeError:
        raise RequestError(f"The chat template {file} is not UTF-8 text.") from None
    except OSError as error:
        raise RequestError(explain_os_error(error, f"reading {file}").message) from None
