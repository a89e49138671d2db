"""Digests tell contents apart, and nothing else."""

from dataclasses import replace

import pytest

from edgetune.data.conversation import (
    Conversation,
    Digest,
    Finding,
    Message,
    ToolCall,
    answers,
    content_digest,
)

ASKED = Message("user", "Hi")
ANSWER = Message("assistant", "Ho")
TALK = Conversation((ASKED, ANSWER))


def test_the_parts_of_a_digest_cannot_run_into_each_other() -> None:
    def digest(*texts: str) -> bytes:
        made = Digest()
        for text in texts:
            made.add(text)
        return made.value()

    assert digest("ab", "c") != digest("a", "bc") != digest("abc")
    assert digest("\ud800") != digest("?")
    assert len(digest()) == 16


@pytest.mark.parametrize(
    "other",
    [
        Conversation((ASKED, replace(ANSWER, content="Ho!"))),
        Conversation((ASKED, replace(ANSWER, role="user"))),
        Conversation((ASKED, replace(ANSWER, reasoning="hm"))),
        Conversation((ASKED, replace(ANSWER, tool_calls=(ToolCall("f", {}),)))),
        Conversation((ASKED, ANSWER, ASKED)),
        Conversation((ASKED, ANSWER), tools=({"type": "function", "function": {"name": "f"}},)),
        Conversation((), text="Hi"),
    ],
)
def test_what_is_said_changes_the_digest(other: Conversation) -> None:
    assert content_digest(other) != content_digest(TALK)


def test_where_it_stands_does_not_change_the_digest() -> None:
    moved = replace(TALK, file="x", line=3, task="t", group="g")
    weighed = replace(TALK, messages=(ASKED, replace(ANSWER, weight=0.5)))
    assert content_digest(moved) == content_digest(weighed) == content_digest(TALK)
    assert content_digest(TALK, seed=1) != content_digest(TALK)


def test_the_arguments_of_a_call_have_no_order() -> None:
    one, other = (
        Conversation((ASKED, Message("assistant", tool_calls=(ToolCall("f", arguments),))))
        for arguments in ({"a": 1, "b": 2}, {"b": 2, "a": 1})
    )
    assert content_digest(one) == content_digest(other)


def test_answers_are_the_assistants_messages() -> None:
    assert answers((ASKED, ANSWER, ASKED)) == [ANSWER]


def test_a_finding_says_where() -> None:
    assert Finding("note", "bom", "x").where == ""
    assert Finding("note", "bom", "x", "a.json").where == "a.json"
    assert Finding("note", "bom", "x", "a.json", 3).where == "a.json, line 3"
