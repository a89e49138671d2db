"""Exactly the answers and their end tokens are trained, and a chat sees what training saw."""

import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetune.data.conversation import Conversation, Message
from edgetune.data.reading import load
from edgetune.data.template import (
    Example,
    RowProblem,
    prompt_ids,
    stop_ids,
    to_example,
    to_examples,
)
from edgetune.data.templates.builtin import PLAIN, PLAIN_ONE_LINE, choose_template
from edgetune.data.templates.rendering import ChatTemplate
from edgetune.data.tokenizer import Tokenizer
from edgetune.errors import RequestError

# The character that stands for a space in SentencePiece vocabularies decodes to a space.
TEXT = st.text(max_size=40).filter(lambda text: bool(text.strip()) and "▁" not in text)
SNIPPETS = [
    "  two  spaces",
    "line\nbreak\n\n",
    "\tTab",
    "5",
    "é",
    "e\u0301",
    "🙂👩‍🚀",
    "don't",
    ": x",
]
CONTENT = st.one_of(TEXT, st.lists(st.sampled_from(SNIPPETS), min_size=1).map("".join))


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    """One to three questions with answers, sometimes after a system message."""
    messages = []
    if draw(st.booleans()):
        messages.append(Message("system", draw(CONTENT)))
    for _ in range(draw(st.integers(1, 3))):
        messages.append(Message("user", draw(CONTENT)))
        messages.append(Message("assistant", draw(CONTENT)))
    return Conversation(tuple(messages), file="rows.json", line=7)


def conversation(*turns: tuple[str, str]) -> Conversation:
    return Conversation(tuple(Message(*turn) for turn in turns), file="rows.json", line=7)


def spans(example: Example) -> list[list[int]]:
    """The ids of each trained stretch."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], example.trained, [0]])))
    return [example.ids[a:b].tolist() for a, b in edges.reshape(-1, 2)]


def check(item: Conversation, tokenizer: Tokenizer, template: ChatTemplate, end: str) -> None:
    """The promises of an example, checked without the code that made it."""
    # Written out control tokens are another test's.
    if any(tokenizer.special_text(message.content) for message in item.messages):
        return
    example = to_example(item, tokenizer, template)
    if example.notes:
        # Newlines in front of an answer may share a token with the header before it.
        assert template.source != PLAIN
        assert any(m.role == "assistant" and m.content[0].isspace() for m in item.messages)
        item = Conversation(
            tuple(
                Message(m.role, m.content.lstrip() if m.role == "assistant" else m.content)
                for m in item.messages
            )
        )
    assert example.ids.dtype == np.int32
    assert example.ids.tolist() == tokenizer.encode(template.render(item.messages))
    turns = [i for i, message in enumerate(item.messages) if message.role == "assistant"]
    found = spans(example)
    assert len(found) == len(turns)
    for i, ids in zip(turns, found, strict=True):
        assert tokenizer.token_text(ids[-1]) == end
        assert not set(ids[:-1]) & tokenizer.special_ids
        answer = unicodedata.normalize("NFC", tokenizer.decode(ids[:-1]))
        assert answer.strip() == unicodedata.normalize("NFC", item.messages[i].content).strip()
        # What a chat hands to the model is what came before this answer in training.
        prompt = prompt_ids(item.messages[:i], tokenizer, template)
        assert example.ids[: len(prompt)].tolist() == prompt
        assert example.ids[len(prompt) : len(prompt) + len(ids)].tolist() == ids


@given(conversations())
def test_plain_masks_with_a_dummy_prefix(spm: Tokenizer, item: Conversation) -> None:
    check(item, spm, choose_template(spm, "auto"), "</s>")


@given(conversations())
def test_plain_masks_with_byte_level_tokens(chatml: Tokenizer, item: Conversation) -> None:
    check(item, chatml, choose_template(chatml, "plain"), "<|im_end|>")


@given(conversations())
def test_own_template_masks(chatml: Tokenizer, item: Conversation) -> None:
    check(item, chatml, choose_template(chatml, "auto"), "<|im_end|>")


@settings(max_examples=40)
@given(item=conversations())
def test_masks_of_real_models(real: Tokenizer, real_dir: Path, item: Conversation) -> None:
    check(item, real, choose_template(real, "plain"), real.eos)
    if real.chat_template is not None:
        end = "<|end|>" if real_dir.name == "phi3_mini" else "<|im_end|>"
        check(item, real, choose_template(real, "auto"), end)


def test_plain_template_in_text(spm: Tokenizer) -> None:
    turns = [("system", "S"), ("user", "Q"), ("assistant", " A\n"), ("user", "R")]
    item = conversation(*turns, ("assistant", "B"))
    template = choose_template(spm, "auto")
    assert template.name == "plain"
    assert template.render(item.messages) == "<s>S\n\nQ\n A</s>R\n B</s>"
    prompt = template.render(item.messages[:2], add_generation_prompt=True)
    assert prompt == "<s>S\n\nQ\n"
    as_mappings = [{"role": role, "content": content} for role, content in turns]
    assert template.render(as_mappings) == template.render(item.messages[:4])


def test_plain_template_refuses_an_unknown_role(spm: Tokenizer) -> None:
    with pytest.raises(RequestError, match="unknown role: critic"):
        choose_template(spm, "plain").render([{"role": "critic", "content": "x"}])


def test_plain_needs_an_end_token(chatml_dir: Path) -> None:
    import tokenizers

    backend = tokenizers.Tokenizer.from_file(str(chatml_dir / "tokenizer.json"))
    with pytest.raises(RequestError, match="names no end-of-text token"):
        choose_template(Tokenizer(backend, bos="", eos=""), "auto")


def test_text_after_the_end_token_is_not_trained(chatml: Tokenizer) -> None:
    item = conversation(("user", "a"), ("assistant", "b"))
    example = to_example(item, chatml, choose_template(chatml, "auto"))
    assert chatml.decode(example.ids[-2:].tolist(), skip_special=False) == "<|im_end|>\n"
    assert example.trained[-2:].tolist() == [True, False]


def test_a_question_after_the_last_answer_is_not_trained(spm: Tokenizer) -> None:
    item = conversation(("user", "a"), ("assistant", "b"), ("user", "c"))
    example = to_example(item, spm, choose_template(spm, "auto"))
    assert len(spans(example)) == 1
    assert not example.trained[-1]


def test_the_first_token_of_all_is_never_trained(chatml: Tokenizer) -> None:
    item = conversation(("assistant", "hello"), ("user", "a"), ("assistant", "b"))
    example = to_example(item, chatml, choose_template(chatml, "plain"))
    assert not example.trained[0]
    assert example.trained[1]


def test_stop_tokens_include_the_one_that_the_template_writes(
    spm: Tokenizer, chatml: Tokenizer
) -> None:
    assert stop_ids(spm, choose_template(spm, "auto")) == {2}
    template = ChatTemplate(
        "{% for m in messages %}{{ m.content }}<|endoftext|>{% endfor %}", "", "", "model"
    )
    assert stop_ids(chatml, template) == set(chatml.encode("<|endoftext|><|im_end|>"))


def chat_source(turn: str, prompt: str = "<|im_start|>assistant\n") -> str:
    loop = "{% for m in messages %}" + turn + "{% endfor %}"
    return loop + "{% if add_generation_prompt %}" + prompt + "{% endif %}"


HEADER = "<|im_start|>{{ m.role }}\n"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        # The generation prompt is not how an answer begins.
        (
            chat_source(HEADER + "{{ m.content }}<|im_end|>\n", "<|im_start|>assistant: "),
            "answer 1: the chat template renders the conversation before it differently",
        ),
        # What was said before depends on what comes after.
        (
            "{{ messages | length }}" + chat_source("{{ m.content }}<|im_end|>", ""),
            "answer 1: the chat template renders the conversation before it differently",
        ),
        # No end token.
        (
            chat_source(HEADER + "{{ m.content }}\n"),
            "answer 1: the chat template writes no end token after it",
        ),
        (
            chat_source("{{ m.content }}\n", ""),
            "answer 1: the chat template writes no end token after it",
        ),
        (
            chat_source(
                HEADER + "{{ m.content | upper if m.role == 'assistant' else m.content }}<|im_end|>"
            ),
            "answer 1: the chat template changes its text",
        ),
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{{ messages[9].content + 1 }}", "template refuses the conversation"),
    ],
)
def test_a_template_that_cannot_be_masked_exactly_is_refused(
    chatml: Tokenizer, source: str, reason: str
) -> None:
    item = conversation(("user", "the"), ("assistant", "fox"))
    template = ChatTemplate(source, "", "<|im_end|>", "model")
    with pytest.raises(RequestError, match="cannot be masked exactly") as caught:
        to_example(item, chatml, template)
    assert reason in caught.value.message


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        # "the quick brown f" + "ox" has a token for "fox".
        (
            chat_source(
                "{% if m.role == 'assistant' %}the quick brown f{% endif %}"
                "{{ m.content }}<|im_end|>",
                "the quick brown f",
            ),
            "a token lies across the beginning of an answer",
        ),
        (
            chat_source(
                "{% if m.role != 'tool' %}" + HEADER + "{{ m.content }}<|im_end|>{% endif %}"
            ),
            "message 3 (tool): the chat template leaves it out",
        ),
        (
            chat_source(HEADER + "{{ m.content.split('dog')[0] }}<|im_end|>"),
            "the chat template depends on what its texts are",
        ),
        (
            "{% if messages | length > 3 %}{{ raise_exception('too long') }}{% endif %}"
            + chat_source(HEADER + "{{ m.content }}<|im_end|>"),
            "too long",
        ),
    ],
)
def test_a_row_that_cannot_be_masked_exactly_is_a_problem(
    chatml: Tokenizer, source: str, reason: str
) -> None:
    item = conversation(
        ("user", "the"),
        ("assistant", "ox jumps"),
        ("tool", "lazy"),
        ("user", "a dog"),
        ("assistant", "over"),
    )
    template = ChatTemplate(source, "", "<|im_end|>", "model")
    [problem] = to_examples([item], chatml, template)
    assert isinstance(problem, RowProblem)
    assert reason in problem.reason
    assert (problem.file, problem.line) == ("rows.json", 7)


def test_an_answer_that_is_rewritten_as_history_gets_an_example_of_its_own(
    chatml: Tokenizer,
) -> None:
    source = chat_source(
        HEADER + "{% if loop.last and m.role == 'assistant' %}<think>{% endif %}"
        "{{ m.content }}<|im_end|>\n"
    )
    template = ChatTemplate(source, "", "<|im_end|>", "model")
    item = conversation(
        ("user", "the"), ("assistant", "ox"), ("user", "dog"), ("assistant", "over")
    )
    [result] = to_examples([item], chatml, template)
    assert not isinstance(result, RowProblem)
    texts = [chatml.decode(example.ids.tolist(), skip_special=False) for example in result]
    trained = [
        chatml.decode(ids, skip_special=False) for example in result for ids in spans(example)
    ]
    assert trained == ["<think>over<|im_end|>", "<think>ox<|im_end|>"]
    assert texts == [template.render(item.messages), template.render(item.messages[:2])]


def test_an_answer_that_the_tokenizer_cannot_write_is_a_problem(shared_data: Path) -> None:
    tokenizer = Tokenizer.from_directory(shared_data / "models" / "babyllama")
    item = conversation(("user", "what?"), ("assistant", "π"))
    with pytest.raises(RowProblem, match="cannot write the character 'π'"):
        to_example(item, tokenizer, choose_template(tokenizer, "auto"))


def test_many_conversations_give_what_each_gives_alone(chatml: Tokenizer) -> None:
    template = choose_template(chatml, "auto")
    items = [conversation(("user", f"q{i}"), ("assistant", f"a{i}" * i)) for i in range(1, 600)]
    items[300] = conversation(("user", "a"))
    results = list(to_examples(items, chatml, template))
    assert isinstance(results[300], RowProblem)
    for item, result in zip(items[:3] + items[-3:], results[:3] + results[-3:], strict=True):
        alone = to_example(item, chatml, template)
        assert not isinstance(result, RowProblem)
        assert (result[0].ids == alone.ids).all()
        assert (result[0].weights == alone.weights).all()


def test_a_template_that_is_not_jinja_is_a_request_error() -> None:
    with pytest.raises(RequestError, match="not valid Jinja"):
        ChatTemplate("{% for %}", "", "", "model")


def test_templates_cannot_reach_out_of_their_sandbox() -> None:
    template = ChatTemplate("{{ messages.__class__.__mro__[1].__subclasses__() }}", "", "", "model")
    with pytest.raises(RequestError, match="refuses"):
        template.render([{"role": "user", "content": "x"}])
    template = ChatTemplate("{{ messages.append(1) }}", "", "", "model")
    with pytest.raises(RequestError, match="refuses"):
        template.render([{"role": "user", "content": "x"}])


FEATURES = """\
{%- set ns = namespace(seen=0) -%}
  {# a comment #}
{%- for m in messages %}
    {% if m.role == 'skip' %}{% continue %}{% endif %}
    {%- set ns.seen = ns.seen + 1 %}
{{ m | tojson }} {{ m.content | tojson(indent=2) }}
    {% generation %}{{ m['content'].strip() }}{% endgeneration %}

{% endfor %}
{{ bos_token }}|{{ eos_token }}|{{ unset_token }}|{{ ns.seen }}|{{ strftime_now('%Y') }}
{%- if add_generation_prompt %}go{{ extra }}{% endif %}
"""


def reference(folder: Path) -> Any:
    transformers = pytest.importorskip("transformers")
    # The class that runs tokenizer.json as it is; the one for Llama builds another one instead.
    return transformers.PreTrainedTokenizerFast.from_pretrained(str(folder))


def as_dicts(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def test_every_feature_of_templates_renders_as_in_transformers(chatml_dir: Path) -> None:
    messages = [
        Message("user", ' <b> "ä" \n'),
        Message("skip", "x"),
        Message("assistant", "it's & 日本\u2028"),
    ]
    theirs = reference(chatml_dir)
    template = ChatTemplate(FEATURES, "", "<|im_end|>", "model")
    for prompt in (False, True):
        expected = theirs.apply_chat_template(
            as_dicts(messages),
            chat_template=FEATURES,
            tokenize=False,
            add_generation_prompt=prompt,
            extra="!",
        )
        assert template.render(messages, add_generation_prompt=prompt, extra="!") == expected


def test_real_templates_and_ids_are_those_of_transformers(
    real_dir: Path, real: Tokenizer, shared_data: Path
) -> None:
    theirs = reference(real_dir)
    files = ["rasbt/instruction-data.json", "llama_factory/alpaca_en_demo.json"]
    rows = load([shared_data / "instruct" / name for name in files]).conversations[::40]
    several = [
        Conversation((Message("system", "Be brief. "), *a.messages, *b.messages))
        for a, b in pairwise(rows)
    ]
    for choice in ("auto", "plain"):
        template = choose_template(real, choice)
        # Only these two are given by edgetune; a tokenizer without one has no text for it.
        for item in [*rows, *several]:
            expected = theirs.apply_chat_template(
                as_dicts(item.messages), chat_template=template.source, return_dict=False
            )
            assert to_example(item, real, template).ids.tolist() == expected
            prompt = theirs.apply_chat_template(
                as_dicts(item.messages[:-1]),
                chat_template=template.source,
                add_generation_prompt=True,
                return_dict=False,
            )
            assert prompt_ids(item.messages[:-1], real, template) == prompt


def test_embedded_model_begins_an_answer_as_in_running_text(nano: Path) -> None:
    tokenizer = Tokenizer.from_directory(nano)
    template = choose_template(tokenizer, "auto")
    assert template.source == PLAIN
    item = conversation(("user", "What is the colour of grass?"), ("assistant", "green"))
    check(item, tokenizer, template, tokenizer.eos)
    [answer] = spans(to_example(item, tokenizer, template))
    assert answer[:-1] == tokenizer.encode("grass green")[len(tokenizer.encode("grass")) :]


def test_a_vocabulary_without_a_newline_gets_the_plain_template_on_one_line(
    shared_data: Path,
) -> None:
    tokenizer = Tokenizer.from_directory(shared_data / "models" / "babyllama")
    template = choose_template(tokenizer, "auto")
    assert template.source == PLAIN_ONE_LINE
    row = conversation(("user", "Say\nthis"), ("assistant", "this"))
    example = to_example(row, tokenizer, template)
    trained = [int(i) for i in example.ids[example.trained]]
    assert tokenizer.decode(trained, skip_special=False).strip() == "this</s>"
    untrained = [int(i) for i in example.ids[~example.trained]]
    assert untrained == prompt_ids(row.messages[:1], tokenizer, template)


def test_a_row_with_a_character_that_the_vocabulary_cannot_write_is_a_problem(
    shared_data: Path,
) -> None:
    tokenizer = Tokenizer.from_directory(shared_data / "models" / "babyllama")
    template = choose_template(tokenizer, "auto")
    row = conversation(("user", "Où?"), ("assistant", "here"))
    with pytest.raises(RowProblem, match="cannot write the character 'ù'"):
        to_example(row, tokenizer, template)
    with pytest.raises(RequestError, match="cannot write the character 'ù'"):
        prompt_ids(row.messages[:1], tokenizer, template)
