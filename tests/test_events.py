"""Events are read back as they were said."""

from edgetune import events


def test_a_line_ends_at_nothing_but_a_newline() -> None:
    said = [events.Note(message=f"a{mark}b") for mark in ("\u2028", "\x85", "\x0c", "\n")]
    text = "".join(events.to_line(event) + "\n" for event in said)
    assert list(events.read(text)) == said


def test_a_line_cut_short_is_passed_over() -> None:
    whole = events.to_line(events.Note(message="whole"))
    assert [event.message for event in events.read(f"{whole}\n{whole[:-9]}")] == ["whole"]
