"""What the trained model does, measured in MLX and written down as plain numbers.

``quantize.verify`` holds a GGUF against this without knowing MLX: token ids of difficult texts
and of the run's own data, rendered prompts, stop tokens, and the model's predictions.
"""

from collections.abc import Callable, Sequence

import numpy as np

from edgetune.data.conversation import Conversation, Message
from edgetune.data.template import stop_ids
from edgetune.data.templates.rendering import ChatTemplate
from edgetune.evaluate import examples_of
from edgetune.models import Loaded, computes_in_float32, embedding_rows, log_probabilities
from edgetune.quantize.reference import Reference

PROBE_TEXTS = [
    "Hello, world!",
    " leading space",
    "trailing space ",
    "two  spaces   three",
    "tab\tand\nnewline\n\nblank line",
    "\n",
    "\r\nWindows line\r\n",
    "Don't they've I'll we'd it's",
    "0 1 12 123 1234 12345 3.14159 1,000,000 2026-01-31",
    'for i in range(10):\n    print(f"{i:>3}")  # done',
    '{"name": "value", "list": [1, 2, 3]}',
    "https://example.org/path?query=1&other=two#part",
    "CamelCase snake_case kebab-case SCREAMING",
    "Äpfel, naïve café, señor, Łódź, żółć",
    "Привет мир. Γειά σου. שלום. مرحبا",
    "你好，世界。こんにちは。안녕하세요",
    "emoji: 🙂 👩‍🚀 🏳️‍🌈 🇫🇷",
    "combining: e\u0301 vs \u00e9",
    "zero\u200bwidth, no\u00a0break",
    "<|im_start|> [INST] ### plain text that looks like a template",
    "!!!??? ... --- *** ((( )))",
    "a" * 40,
]
"""Texts on which tokenizers are known to differ."""

_SAMPLES = [
    ("Name three primary colours.", "Red, yellow and blue."),
    ("What is 7 plus 5?", "12"),
    (
        "Write a haiku about rain.",
        "Soft rain on the roof,\nthe garden drinks without haste,\nmorning smells of earth.",
    ),
    ("Translate to French: good morning", "Bonjour"),
    ("  Spaces around  ", "kept\n\nas they are"),
]


def sample_conversations() -> list[Conversation]:
    """A few short conversations, one of them with a system message and two turns."""
    single = [
        Conversation((Message("user", question), Message("assistant", answer)))
        for question, answer in _SAMPLES
    ]
    several = Conversation(
        (
            Message("system", "You answer briefly."),
            Message("user", "Where is the tower?"),
            Message("assistant", "In Paris."),
            Message("user", "How tall is it?"),
            Message("assistant", "330 metres."),
        )
    )
    return [*single, several]


def make_reference(
    loaded: Loaded,
    template: ChatTemplate,
    conversations: Sequence[Conversation],
    progress: Callable[[int, int], None] | None = None,
    most_positions: int = 1500,
    most_bytes: int = 256 << 20,
) -> Reference:
    """Measure the model (with its adapter, as trained, nothing fused).

    The predictions are taken where ``conversations`` (validation answers) are trained, until
    ``most_positions`` or ``most_bytes`` of float32 are reached; without conversations, over the
    built-in samples.
    """
    tokenizer = loaded.tokenizer
    own = list(conversations)
    rendered_from = [*sample_conversations(), *filter(_is_plain, own[:32])]
    renderable, rendered = [], []
    for conversation in rendered_from:
        messages = [
            {"role": message.role, "content": message.content}
            for message in conversation.messages
            if message.role != "system" or _takes_system(template)
        ][:-1]
        renderable.append(messages)
        rendered.append(template.render(messages, add_generation_prompt=True))
    limit = min(most_positions, most_bytes // (4 * embedding_rows(loaded.model)))
    sequences: list[np.ndarray] = []
    positions: list[np.ndarray] = []
    log_probs: list[np.ndarray] = []
    count = 0
    measured = own or sample_conversations()[:-1]
    for example in examples_of(measured, tokenizer, template):
        where = np.flatnonzero(example.trained)[: limit - count] - 1
        sequences.append(example.ids)
        positions.append(where)
        log_probs.append(log_probabilities(loaded.model, example.ids, where))
        count += len(where)
        if count >= limit:
            break
        if progress is not None:
            progress(count, limit)
    if progress is not None:
        progress(limit, limit)
    texts = [
        text
        for text in [*PROBE_TEXTS, *(_text(conversation) for conversation in own[:200])]
        if tokenizer.unknown_text(text) is None
    ]
    return Reference(
        texts=texts,
        text_ids=[tokenizer.encode(text) for text in texts],
        conversations=renderable,
        rendered=rendered,
        rendered_ids=[tokenizer.encode(text) for text in rendered],
        chat_template=template.source,
        bos=template.bos,
        eos=template.eos,
        stop_ids=sorted(stop_ids(tokenizer, template)),
        vocabulary=[tokenizer.token_text(token) for token in range(tokenizer.size)],
        sequences=sequences,
        positions=positions,
        log_probs=log_probs,
        precise=computes_in_float32(loaded.model),
    )


def _is_plain(conversation: Conversation) -> bool:
    """Whether every template can write it: messages without tools, and an answer at the end."""
    messages = conversation.messages
    return (
        len(messages) > 1
        and messages[-1].role == "assistant"
        and not conversation.tools
        and not any(message.role == "tool" or message.tool_calls for message in messages)
    )


def _text(conversation: Conversation) -> str:
    return conversation.text + "\n".join(message.content for message in conversation.messages)


def _takes_system(template: ChatTemplate) -> bool:
    """Some models' templates refuse a system message."""
    from edgetune.errors import EdgetuneError

    try:
        template.render(
            [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
            add_generation_prompt=True,
        )
    except EdgetuneError:
        return False
    return True
