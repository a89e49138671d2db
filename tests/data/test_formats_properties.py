"""For any JSON value there is an outcome, and what a conversation is written as reads back."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edgetune.config import SourceConfig
from edgetune.data import formats
from edgetune.data.conversation import Conversation, Message, ToolCall
from edgetune.data.readers.rows import Row

SOURCE = SourceConfig(path="rows.jsonl")
Q, A = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}

# Words that steer the readers; plain texts would hardly ever form a row.
WORDS = sorted(
    {key for keys in formats.KEYS.values() for key in keys}
    | {"role", "content", "from", "value", "type", "text", "name", "arguments", "function"}
    | {"user", "assistant", "human", "gpt", "tool", "function_call", "observation", "system"}
    | {"tool_calls", "weight", "train", "reasoning", "thinking", "tool_call", "tool_use"}
    | {"tool_result", "context", "choices", "parts", "chat", "data", "id", "image", "kto_tag"}
    | {"\n\nHuman: Hi\n\nAssistant: Ho", "<think>a</think>b", "[]", "{}", '[{"name": "f"}]', ""}
)
texts = st.sampled_from(WORDS) | st.text(max_size=8)
leaves = texts | st.none() | st.booleans() | st.integers() | st.floats()
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=25,
)

REAL: list[Any] = [
    {"messages": [Q, {**A, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}, A]},
    {"messages": [Q, {"role": "assistant", "content": [{"type": "text", "text": "Ho"}]}]},
    {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]},
    {"instruction": "Hi", "input": "x", "output": "Ho", "history": [["a", "b"]]},
    {"prompt": "Hi", "chosen": [Q, A], "rejected": [Q, A], "tools": [{"name": "f"}]},
    {"chosen": "\n\nHuman: Hi\n\nAssistant: Ho", "rejected": "\n\nHuman: Hi\n\nAssistant: No"},
    {"prompt": "Hi", "completion": "Ho", "label": True},
    {"question": "Hi", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "A"},
    {"question": "Hi", "context": "c", "answers": {"text": ["a"], "answer_start": [1]}},
    {"inputs": "Hi", "targets": "Ho", "definition": "x", "task": "t"},
    {"name": "t", "instruction": "Hi", "instances": [{"input": "x", "output": "Ho"}]},
    {"system": "SYSTEM: x", "chat": 'USER: Hi\n\n\nASSISTANT: <functioncall> {"name": "f"}'},
    {"query": "Hi", "answers": '[{"name": "f", "arguments": {}}]', "tools": "[]"},
    {"text": "Once."},
]


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A proper row of which a few places hold something else."""
    row = json.loads(json.dumps(draw(st.sampled_from(REAL))))
    for _ in range(draw(st.integers(1, 3))):
        place = row
        while isinstance(place, dict | list) and place:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = draw(st.sampled_from(keys))
            inner = place[key]
            if not isinstance(inner, dict | list) or not inner or draw(st.booleans()):
                place[key] = draw(values)
                break
            place = inner
    return row


def check_outcome(value: Any, **source: Any) -> None:
    config = SourceConfig(path="rows.jsonl", **source)
    name, conversations, findings = formats.to_conversations(Row(value, "rows.jsonl", 7), config)
    assert name in formats.KEYS or not conversations
    assert conversations or any(finding.left_out for finding in findings)
    for finding in findings:
        assert (finding.file, finding.line) == ("rows.jsonl", 7)
        assert finding.kind and finding.message
        assert not finding.message.endswith(".")
    for one in conversations:
        assert bool(one.messages) != bool(one.text)
        assert any(message.role == "assistant" for message in one.messages) or one.text
        again = formats.read_row(Row(formats.to_json(one), one.file, one.line), SOURCE)
        assert [*again.conversations] == [one]


@given(values)
def test_any_value_has_an_outcome(value: Any) -> None:
    check_outcome(value)


@given(mutated())
@settings(max_examples=200)
def test_any_mutated_row_has_an_outcome(value: Any) -> None:
    check_outcome(value)


columns = st.dictionaries(
    st.sampled_from(sorted({key for keys in formats.KEYS.values() for key in keys})),
    st.sampled_from(WORDS),
    max_size=3,
)


@given(mutated(), st.sampled_from([*formats.KEYS, "auto"]), columns)
def test_any_row_has_an_outcome_in_any_format(
    value: Any, name: str, columns: dict[str, str]
) -> None:
    check_outcome(value, format=name, columns=columns)


plain = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
spoken = plain.filter(lambda text: bool(text.strip())) | st.just("<think>a</think>b")
arguments = st.dictionaries(plain, plain | st.integers() | st.lists(st.booleans()), max_size=3)
names = plain.filter(bool)
calls = st.builds(ToolCall, names, arguments, plain)
weights = st.none() | st.floats(0, 10)
asked = st.builds(Message, st.just("user"), spoken, name=plain, weight=weights)
answered = st.builds(
    Message,
    st.just("assistant"),
    spoken,
    plain.filter(lambda text: not text or bool(text.strip())),
    st.lists(calls, max_size=2).map(tuple),
    plain,
    weight=st.none() | st.floats(0.1, 10),
)
called = st.builds(Message, st.just("tool"), plain, name=plain, tool_call_id=plain)
system = st.builds(Message, st.just("system"), plain)
function = st.fixed_dictionaries({"name": names}, optional={"parameters": arguments})
tools = st.fixed_dictionaries({"type": st.just("function"), "function": function})
talks = st.builds(
    lambda first, rest, last: (*first, *rest, last),
    st.lists(system, max_size=1),
    st.lists(asked | answered | called | system, max_size=4),
    answered,
)
conversations = st.builds(
    Conversation,
    talks,
    st.lists(tools, max_size=2).map(tuple),
    rejected=st.lists(answered, max_size=2).map(tuple),
    label=st.none() | st.booleans(),
    task=plain,
    group=plain,
    file=st.just("chat.jsonl"),
    line=st.integers(1, 99),
) | st.builds(Conversation, st.just(()), text=spoken, task=plain, group=plain)


@given(conversations)
@settings(max_examples=150)
def test_what_is_written_reads_back_to_the_same(conversation: Conversation) -> None:
    written = json.loads(json.dumps(formats.to_json(conversation)))
    row = Row(written, conversation.file, conversation.line)
    _, [again], findings = formats.to_conversations(row, SOURCE, "group")
    # A row that has no group is told so.
    kinds = {finding.kind for finding in findings if finding.grade == "error" or finding.left_out}
    assert not kinds
    assert again == conversation
