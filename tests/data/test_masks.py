"""On every kind of conversation and with every template exactly the assistant's texts and their
end tokens are trained, on the ids that transformers gives."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgetune.config import DataConfig
from edgetune.data.conversation import Conversation, Message, ToolCall
from edgetune.data.template import Example, RowProblem, prompt_ids, stop_ids, to_examples
from edgetune.data.templates.builtin import BUILT_IN, choose_template
from edgetune.data.templates.drafts import MaskOptions
from edgetune.data.templates.rendering import ChatTemplate
from edgetune.data.tokenizer import Tokenizer
from edgetune.errors import RequestError

TOOLS: tuple[dict[str, Any], ...] = (
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": 'How it is "out there" at a place',
            "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
        },
    },
)
WORDS = st.text(alphabet="abc XYZ.,é🙂-5", min_size=1, max_size=20).map(str.strip).filter(bool)
QUESTION = st.one_of(
    WORDS, st.sampled_from([" two\nlines", "\ttab", "x\n\n", "<tool_call>", "[/INST]"])
)


@st.composite
def conversations(draw: st.DrawFn, kind: str, question: Any = QUESTION) -> Conversation:
    """Of one kind: single, multi, system, tools or thinking."""
    messages: list[Message] = []
    if kind == "system" or (kind in ("tools", "thinking") and draw(st.booleans())):
        messages.append(Message("system", draw(question)))
    turns = 1 if kind in ("single", "thinking") else draw(st.integers(1, 3))
    for turn in range(turns):
        messages.append(Message("user", draw(question)))
        if kind == "tools" and (turn == 0 or draw(st.booleans())):
            arguments = {"place": draw(question), "days": draw(st.integers(0, 9))}
            said = draw(st.sampled_from(["", "Let me see."]))
            call = ToolCall("weather", arguments)
            messages.append(Message("assistant", said, tool_calls=(call,)))
            messages.append(Message("tool", json.dumps({"sky": draw(question)}), name="weather"))
        reasoning = draw(WORDS) if kind == "thinking" else ""
        messages.append(Message("assistant", draw(WORDS), reasoning=reasoning))
    tools = TOOLS if kind == "tools" else ()
    return Conversation(tuple(messages), tools=tools, file="rows.jsonl", line=3)


def spans(example: Example) -> list[list[int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], example.trained, [0]])))
    return [example.ids[a:b].tolist() for a, b in edges.reshape(-1, 2)]


def only(result: list[Example] | RowProblem) -> Example:
    if isinstance(result, RowProblem):
        raise result
    [example] = result
    return example


def expected_answers(item: Conversation, template: ChatTemplate) -> list[list[str]]:
    """What has to stand, in this order, in each trained stretch."""
    return [
        [
            *([m.reasoning] if m.reasoning else []),
            *([m.content] if m.content else []),
            *(f'"name": "{call.name}", "arguments": ' for call in m.tool_calls),
        ]
        for m in item.messages
        if m.role == "assistant"
    ]


def check(item: Conversation, tokenizer: Tokenizer, template: ChatTemplate) -> Example:
    """Trained is what the assistant says with its end token, nothing less and nothing more."""
    [result] = to_examples([item], tokenizer, template)
    example = only(result)
    stops = stop_ids(tokenizer, template)
    answers = [m for m in item.messages if m.role == "assistant"]
    found = spans(example)
    assert len(found) == len(answers)
    for ids, message, parts in zip(found, answers, expected_answers(item, template), strict=True):
        assert ids[-1] in stops
        assert not set(ids[:-1]) & tokenizer.special_ids
        text = tokenizer.decode(ids[:-1])
        rest = text
        for part in parts:
            assert part in rest
            rest = rest[rest.index(part) + len(part) :]
        if not message.reasoning and not message.tool_calls:
            assert text.strip() == message.content
        elif not message.tool_calls:
            assert re.fullmatch(
                r"\s*(<think>\n)?"
                + re.escape(message.reasoning)
                + r"\n</think>\s*"
                + re.escape(message.content),
                text,
            )
    return example


def reference(folder: Path) -> Any:
    transformers = pytest.importorskip("transformers")
    # The class that runs tokenizer.json as it is; the one for Llama builds another one instead.
    return transformers.PreTrainedTokenizerFast.from_pretrained(str(folder))


KINDS = ["single", "multi", "system", "tools", "thinking"]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=10)
@given(data=st.data())
def test_own_templates(real: Tokenizer, real_dir: Path, kind: str, data: st.DataObject) -> None:
    if real.chat_template is None:
        pytest.skip("a base model")
    item = data.draw(conversations(kind))
    template = choose_template(real, "auto")
    if kind == "tools" and real_dir.name == "phi3_mini":
        [result] = to_examples([item], real, template)
        assert isinstance(result, RowProblem)
        assert "cannot write tool calls" in result.reason
        return
    check(item, real, template)


@pytest.mark.parametrize("name", BUILT_IN)
@settings(max_examples=10)
@given(data=st.data())
def test_built_in_templates(real: Tokenizer, name: str, data: st.DataObject) -> None:
    item = data.draw(st.sampled_from(KINDS).flatmap(conversations))
    check(item, real, choose_template(real, name))


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_those_of_transformers(real: Tokenizer, real_dir: Path, kind: str) -> None:
    theirs = reference(real_dir)
    call = ToolCall("weather", {"place": 'Ä "x"', "days": 2})
    turns = {
        "single": [Message("user", " Hi\n"), Message("assistant", "Hello!")],
        "system": [Message("system", "Be."), Message("user", "Hi"), Message("assistant", "Yo")],
        "tools": [
            Message("user", "Weather?"),
            Message("assistant", "", tool_calls=(call, call)),
            Message("tool", '{"sky": "blue"}', name="weather"),
            Message("assistant", "Blue."),
        ],
        "thinking": [Message("user", "2+2?"), Message("assistant", "4", reasoning="two\nand two")],
    }
    turns["multi"] = turns["single"] * 3
    item = Conversation(tuple(turns[kind]), tools=TOOLS if kind == "tools" else ())
    for choice in ("auto", *BUILT_IN):
        template = choose_template(real, choice)
        [result] = to_examples([item], real, template)
        own_phi = choice == "auto" and real_dir.name == "phi3_mini"
        if isinstance(result, RowProblem):
            assert kind == "tools" and own_phi
            continue
        # A template without a place for reasoning (or for calls) gets it inside the content.
        messages = template._fit(item.messages)
        expected = theirs.apply_chat_template(
            messages,
            tools=list(item.tools) or None,
            chat_template=template.source,
            return_dict=False,
        )
        assert only(result).ids.tolist() == expected
        switched = {template.switch: True} if kind == "thinking" and template.switch else {}
        prompt = theirs.apply_chat_template(
            messages[:-1],
            tools=list(item.tools) or None,
            chat_template=template.source,
            add_generation_prompt=True,
            return_dict=False,
            **switched,
        )
        assert expected[: len(prompt)] == prompt
        assert (
            prompt_ids(item.messages[:-1], real, template, tools=item.tools, **switched) == prompt
        )


@settings(max_examples=40)
@given(data=st.data())
def test_a_control_token_written_in_a_text_is_a_text(real: Tokenizer, data: st.DataObject) -> None:
    controls = [*sorted(real.token_text(i) for i in real.special_ids)[:8], real.eos]
    written = st.lists(st.one_of(WORDS, st.sampled_from(controls)), min_size=1).map("".join)
    kind = data.draw(st.sampled_from(["multi", "system", "tools"]))
    item = data.draw(conversations(kind, written))
    assume(any(real.special_text(m.content) for m in item.messages))
    template = choose_template(real, data.draw(st.sampled_from(["chatml", "llama-3", "plain"])))
    [result] = to_examples([item], real, template)
    example = only(result)
    harmless = Conversation(
        tuple(
            Message(
                m.role,
                "a" if m.content else "",
                tool_calls=m.tool_calls and (ToolCall("weather", {"a": 1}),),
            )
            for m in item.messages
        ),
        tools=item.tools,
    )
    [simple] = to_examples([harmless], real, template)

    # Only what the template writes is a control token.
    def control(ids: list[int]) -> list[int]:
        return [i for i in ids if i in real.special_ids]

    assert control(example.ids.tolist()) == control(only(simple).ids.tolist())
    assert len(spans(example)) == len(spans(only(simple)))
    said = [m.content for m in item.messages if m.role == "assistant" and not m.tool_calls]
    trained = [real.decode(ids[:-1]).strip() for ids in spans(example)]
    assert set(map(str.strip, said)) <= set(trained)
    prompt = prompt_ids(item.messages[:-1], real, template, tools=item.tools)
    assert example.ids[: len(prompt)].tolist() == prompt


def weights(
    item: Conversation, tokenizer: Tokenizer, template: ChatTemplate, **options: Any
) -> list[tuple[str, float]]:
    """Stretches of text with equal weight."""
    [result] = to_examples([item], tokenizer, template, MaskOptions(**options))
    example = only(result)
    parts: list[tuple[list[int], float]] = []
    for token, weight in zip(example.ids.tolist(), example.weights.tolist(), strict=True):
        if parts and parts[-1][1] == weight:
            parts[-1][0].append(token)
        else:
            parts.append(([token], weight))
    return [(tokenizer.decode(ids, skip_special=False), weight) for ids, weight in parts]


def learned(*args: Any, **options: Any) -> list[str]:
    return [text for text, weight in weights(*args, **options) if weight]


TWO = Conversation(
    (
        Message("system", "S"),
        Message("user", "Q"),
        Message("assistant", "A", reasoning="R"),
        Message("user", "Q2"),
        Message("assistant", "B"),
    )
)


def test_what_is_trained_can_be_chosen(chatml: Tokenizer) -> None:
    template = choose_template(chatml, "chatml")
    both = ["<think>\nR\n</think>\n\nA<|im_end|>", "B<|im_end|>"]
    assert learned(TWO, chatml, template) == both
    assert learned(TWO, chatml, template, train_on="last") == ["B<|im_end|>"]
    whole = template.render(TWO.messages)
    assert "".join(learned(TWO, chatml, template, train_on="everything")) == whole.removeprefix(
        "<|im_start|>"
    )
    without = ["A<|im_end|>", "B<|im_end|>"]
    assert learned(TWO, chatml, template, train_reasoning=False) == without


def test_messages_may_have_weights(chatml: Tokenizer) -> None:
    template = choose_template(chatml, "chatml")
    messages = list(TWO.messages)
    messages[2] = Message("assistant", "A", weight=0)
    assert learned(Conversation(tuple(messages)), chatml, template) == ["B<|im_end|>"]
    messages[2] = Message("assistant", "A", weight=0.5)
    messages[3] = Message("user", "Q2", weight=2)
    found = weights(Conversation(tuple(messages)), chatml, template)
    assert [part for part in found if part[1]] == [
        ("A<|im_end|>", 0.5),
        ("Q2", 2.0),
        ("B<|im_end|>", 1.0),
    ]
    messages[4] = Message("assistant", "B", weight=0)
    everything = weights(Conversation(tuple(messages)), chatml, template, train_on="everything")
    assert ("B<|im_end|>", 0.0) in everything
    nothing = tuple(Message(m.role, m.content, weight=0) for m in messages)
    [problem] = to_examples([Conversation(nothing)], chatml, template)
    assert isinstance(problem, RowProblem)
    assert problem.reason == "no message of it is to be trained"


def test_running_text_is_learned_whole_with_an_end(chatml: Tokenizer, spm: Tokenizer) -> None:
    item = Conversation((), text="the fox<|im_end|></s> jumps")
    for tokenizer, begin, end in ((chatml, "", "<|im_end|>"), (spm, "", "</s>")):
        [result] = to_examples([item], tokenizer, choose_template(tokenizer, "auto"))
        example = only(result)
        assert example.trained.tolist() == [False] + [True] * (len(example.ids) - 1)
        text = tokenizer.decode(example.ids.tolist(), skip_special=False)
        assert text == begin + item.text + end
        special = [i for i in example.ids.tolist() if i in tokenizer.special_ids]
        assert [tokenizer.token_text(i) for i in special] == [end]


MARKED = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}"
    "<|im_start|>assistant\n{{ m.content }}<|im_end|>{% endgeneration %}\n"
    "{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_generation_markers_have_to_agree(chatml: Tokenizer) -> None:
    item = Conversation((Message("user", "Q"), Message("assistant", "A")))
    right = ChatTemplate(MARKED, "", "<|im_end|>", "model")
    assert learned(item, chatml, right) == ["A<|im_end|>"]
    wrong = ChatTemplate(MARKED.replace("'assistant'", "'user'", 1), "", "<|im_end|>", "model")
    with pytest.raises(RequestError, match="generation markers"):
        learned(item, chatml, wrong)


SWITCHED = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' %}<think>\n{{ m.reasoning_content or '' }}\n</think>\n{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '\\n</think>\\n' }}{% endif %}"
    "{% endif %}"
)


def test_thinking_can_be_switched_and_the_written_template_keeps_it(
    chatml: Tokenizer, tmp_path: Path
) -> None:
    file = tmp_path / "own.jinja"
    file.write_text(SWITCHED)
    plain = Conversation((Message("user", "Q"), Message("assistant", "A")))
    off = choose_template(chatml, DataConfig(template=str(file), thinking="off"))
    assert learned(plain, chatml, off) == ["A<|im_end|>"]
    on = choose_template(chatml, DataConfig(template=str(file), thinking="on"))
    assert learned(plain, chatml, on) == ["\n</think>\nA<|im_end|>"]
    kept = ChatTemplate(off.source, "", "<|im_end|>", "kept")
    assert kept.render(plain.messages[:1], add_generation_prompt=True).endswith("</think>\n")
    with pytest.raises(RequestError, match="no switch for thinking"):
        choose_template(chatml, DataConfig(template="chatml", thinking="on"))
    with pytest.raises(RequestError, match="no variable `mood`"):
        choose_template(chatml, DataConfig(template="chatml", template_variables={"mood": "bad"}))


def test_a_template_that_refuses_system_messages_gets_them_before_the_first_question(
    chatml: Tokenizer,
) -> None:
    source = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}"
        "{% endif %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    template = ChatTemplate(source, "", "<|im_end|>", "model")
    assert template.folds_system
    text = template.render([Message("system", "S"), Message("user", "Q")])
    assert text == "<|im_start|>user\nS\n\nQ<|im_end|>"


def test_an_unknown_template_is_refused_with_the_choices(chatml: Tokenizer) -> None:
    with pytest.raises(RequestError, match="no chat template `vicuna`") as caught:
        choose_template(chatml, "vicuna")
    assert all(name in (caught.value.hint or "") for name in BUILT_IN)


def test_markers_that_the_vocabulary_lacks_are_text_and_answers_end_with_its_own_token(
    spm: Tokenizer,
) -> None:
    template = choose_template(spm, "chatml")
    item = Conversation((Message("user", "the fox"), Message("assistant", "jumps")))
    assert learned(item, spm, template) == ["jumps</s>"]
    [result] = to_examples([item], spm, template)
    special = [i for i in only(result).ids.tolist() if i in spm.special_ids]
    assert {spm.token_text(i) for i in special} <= {"<s>", "</s>"}


def chat_source(turn: str) -> str:
    loop = "{% for m in messages %}<|im_start|>{{ m.role }}\n" + turn + "<|im_end|>\n{% endfor %}"
    return loop + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


def with_tokens(folder: Path, target: Path, *texts: str) -> Tokenizer:
    """The tokenizer of a folder with further control tokens."""
    import tokenizers

    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.add_special_tokens([tokenizers.AddedToken(text, special=True) for text in texts])
    target.mkdir()
    backend.save(str(target / "tokenizer.json"))
    (target / "tokenizer_config.json").write_text('{"eos_token": "<|im_end|>"}')
    return Tokenizer.from_directory(target)


def test_a_control_token_that_closes_a_call_is_not_the_end(
    chatml_dir: Path, tmp_path: Path
) -> None:
    tokenizer = with_tokens(chatml_dir, tmp_path / "m", "<call>", "</call>")
    source = chat_source(
        "{{ m.content }}{% for c in m.tool_calls or [] %}"
        "<call>{{ c.function | tojson }}</call>{% endfor %}"
    )
    calls = tuple(ToolCall("get", {"a": number}) for number in (1, 2))
    item = Conversation(
        (
            Message("user", "Q"),
            Message("assistant", "", tool_calls=calls),
            Message("tool", "x"),
            Message("assistant", "B"),
        )
    )
    template = ChatTemplate(source, "", "<|im_end|>", "model")
    written = '<call>{"name": "get", "arguments": {"a": 1}}</call>'
    both = written + written.replace("1", "2")
    assert learned(item, tokenizer, template) == [f"{both}<|im_end|>", "B<|im_end|>"]
    assert stop_ids(tokenizer, template) == {tokenizer.id_of("<|im_end|>")}


@pytest.mark.parametrize(
    "turn",
    [
        "{{ m.content }}{% if m.tool_calls %}{{ m.tool_calls[0] | tojson }}{% endif %}",
        "{% if m.tool_calls %}{{ m.tool_calls | tojson }}{% else %}{{ m.content }}{% endif %}",
        "{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function.name }}{% endfor %}",
    ],
    ids=["a call", "the content beside calls", "the arguments"],
)
def test_a_template_that_loses_a_part_of_an_answer_loses_the_row(
    chatml: Tokenizer, turn: str
) -> None:
    calls = tuple(ToolCall("get", {"place": place}) for place in ("here", "there"))
    item = Conversation(
        (
            Message("user", "get here, or there"),
            Message("assistant", "get", tool_calls=calls),
            Message("tool", "here"),
            Message("assistant", "B"),
        )
    )
    template = ChatTemplate(chat_source(turn), "", "<|im_end|>", "model")
    [problem] = to_examples([item], chatml, template)
    assert isinstance(problem, RowProblem)
    assert problem.reason == "answer 1: the chat template changes its text"


def test_a_template_that_loses_a_system_message_loses_the_row(chatml: Tokenizer) -> None:
    source = chat_source("{{ m.content if m.role != 'system' }}")
    template = ChatTemplate(source, "", "<|im_end|>", "model")
    [problem] = to_examples([TWO], chatml, template)
    assert isinstance(problem, RowProblem)
    assert problem.reason == "message 1 (system): the chat template leaves it out"


REWRITING = chat_source(
    "{% if m.role == 'assistant' and loop.last %}<think>{% endif %}{{ m.content }}"
)


def test_weights_are_kept_where_the_template_rewrites_history(chatml: Tokenizer) -> None:
    template = ChatTemplate(REWRITING, "", "<|im_end|>", "model")
    messages = (
        Message("user", "Q"),
        Message("assistant", "BAD", weight=0),
        Message("user", "Q2", weight=2),
        Message("assistant", "B"),
    )
    found = weights(Conversation(messages), chatml, template)
    assert [part for part in found if part[1]] == [("Q2", 2.0), ("<think>B<|im_end|>", 1.0)]
    everything = weights(Conversation(messages), chatml, template, train_on="everything")
    assert ("BAD<|im_end|>", 0.0) in everything


@pytest.mark.parametrize("reasoning", ["think", "t", "A", "</think>", "a\n\nb"])
def test_reasoning_is_excluded_whatever_it_says(chatml: Tokenizer, reasoning: str) -> None:
    template = choose_template(chatml, "chatml")
    item = Conversation((Message("user", "Q"), Message("assistant", "A b", reasoning=reasoning)))
    assert learned(item, chatml, template, train_reasoning=False) == ["A b<|im_end|>"]


@pytest.mark.parametrize(
    ("source", "messages"),
    [
        (chat_source("{{ m.content.replace('/no', '') }}"), [Message("user", "x<|im_/noend|>")]),
        (
            chat_source("{{ m.name or '' }}{{ m.content }}"),
            [Message("user", "m_end|>", name="<|i")],
        ),
        (chat_source("{{ m.content }}"), [Message("user", "<|im_end|>\U00012000\U0001201f")]),
    ],
    ids=["joined by the template", "joined from two texts", "beside rare letters"],
)
def test_only_the_template_writes_control_tokens(
    chatml: Tokenizer, source: str, messages: list[Message]
) -> None:
    template = ChatTemplate(source, "", "<|im_end|>", "model")
    ids = prompt_ids(messages, chatml, template)
    special = [chatml.token_text(i) for i in ids if i in chatml.special_ids]
    assert special == ["<|im_start|>", "<|im_end|>", "<|im_start|>"]


def test_many_written_control_tokens_take_no_long_time(chatml: Tokenizer) -> None:
    # Quadratic work would take minutes here.
    ids = prompt_ids([Message("user", "<|im_end|> " * 50_000)], chatml, choose_template(chatml))
    assert ids.count(chatml.id_of("<|im_end|>")) == 1


def test_half_a_character_is_refused(chatml: Tokenizer) -> None:
    item = Conversation((Message("user", "a\ud800"), Message("assistant", "A")))
    [problem] = to_examples([item], chatml, choose_template(chatml))
    assert isinstance(problem, RowProblem)
    assert "half a character" in problem.reason
    with pytest.raises(RequestError, match="half a character"):
        prompt_ids(item.messages[:1], chatml, choose_template(chatml))


def test_what_openai_clients_send_is_read(chatml: Tokenizer) -> None:
    template = choose_template(chatml)
    sent = [{"role": "assistant", "content": "A", "tool_calls": None}]
    assert prompt_ids(sent, chatml, template) == prompt_ids(
        [Message("assistant", "A")], chatml, template
    )


def test_a_template_that_looks_into_texts_still_writes_prompts(chatml: Tokenizer) -> None:
    source = chat_source("{{ m.content if m.content | length < 6 else m.content[:6] }}")
    template = ChatTemplate(source, "", "<|im_end|>", "model")
    ids = prompt_ids([Message("user", "hello")], chatml, template)
    assert ids == chatml.encode("<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n")
    with pytest.raises(RequestError, match="depends on what its texts are"):
        prompt_ids([Message("user", "<|im_end|>")], chatml, template)


@pytest.mark.parametrize("added", ["<|u|>x", "the"])
def test_ids_hold_where_control_tokens_overlap_with_words(
    chatml_dir: Path, tmp_path: Path, added: str
) -> None:
    tokenizer = with_tokens(chatml_dir, tmp_path / "m", "<|u|>", added)
    source = "{% for m in messages %}<|u|>{{ m.content }}<|im_end|>{% endfor %}"
    template = ChatTemplate(source, "", "<|im_end|>", "model")
    ids = prompt_ids([Message("user", "xyz the <|im_end|>")], tokenizer, template)
    assert [i for i in ids if i in tokenizer.special_ids] == [
        tokenizer.id_of("<|u|>"),
        tokenizer.id_of("<|im_end|>"),
    ]


@pytest.mark.parametrize(
    "turn",
    ["{{ c.function.name }}{{ c.function.arguments.a }}", "{{ c.function.name }}"],
)
def test_arguments_that_are_no_texts_are_not_lost_either(chatml: Tokenizer, turn: str) -> None:
    source = chat_source("{{ m.content }}{% for c in m.tool_calls or [] %}" + turn + "{% endfor %}")
    template = ChatTemplate(source, "", "<|im_end|>", "model")
    call = ToolCall("get", {"a": 1, "b": 5})
    item = Conversation((Message("user", "Q"), Message("assistant", "", tool_calls=(call,))))
    [problem] = to_examples([item], chatml, template)
    assert isinstance(problem, RowProblem)
