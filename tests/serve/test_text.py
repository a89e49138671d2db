"""Text from tokens, held against a plain reference for any text, tokens and stop texts."""

from hypothesis import given
from hypothesis import strategies as st

from edgetune.serve.text import TextStream

LETTERS = st.text(alphabet="ab é🎉", max_size=12)


def reference(tokens: list[bytes], stops: tuple[str, ...]) -> str:
    """All the text so far, searched from its beginning after every token."""
    text = ""
    for count in range(len(tokens) + 1):
        text = b"".join(tokens[:count]).decode("utf-8", "ignore")
        if found := [text.find(stop) for stop in stops if stop in text]:
            return text[: min(found)]
    return text


@given(LETTERS, st.lists(st.integers(1, 4)), st.lists(LETTERS.filter(bool), max_size=3))
def test_the_pieces_join_to_the_text_before_the_first_stop(
    text: str, cuts: list[int], stops: list[str]
) -> None:
    data, tokens = text.encode(), []
    for length in [*cuts, len(data)]:
        tokens.append(data[:length])
        data = data[length:]
    stream = TextStream(tuple(stops), False, lambda token: tokens[token])
    parts = []
    for token in range(len(tokens)):
        parts.append(stream.add(token))
        # Nothing that was said has to be taken back.
        assert not any(stop in "".join(parts) for stop in stops)
        if stream.stopped:
            break
    else:
        parts.append(stream.rest())
    assert "".join(parts) == reference(tokens, tuple(stops))


def test_the_white_space_before_an_answer_is_left_out_if_asked() -> None:
    stream = TextStream((), True, lambda token: b" a "[token : token + 1])
    assert [stream.add(0), stream.add(1), stream.add(2)] == ["", "a", " "]
