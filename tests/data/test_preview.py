"""What is shown of a row is what its tokens say, each in its place."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from edgetune.data.conversation import Conversation, Message
from edgetune.data.preview import View, token_texts, view
from edgetune.data.template import RowProblem, to_examples
from edgetune.data.templates.builtin import choose_template
from edgetune.data.tokenizer import Tokenizer

TEXTS = st.text(st.characters(exclude_categories=["Cs"])).filter(str.strip)


def look(tokenizer: Tokenizer, *messages: Message) -> View:
    [result] = to_examples([Conversation(messages)], tokenizer, choose_template(tokenizer))
    assert not isinstance(result, RowProblem)
    [example] = result
    return view(example, tokenizer)


def seen(question: str, answer: str, tokenizer: Tokenizer) -> View:
    return look(tokenizer, Message("user", question), Message("assistant", answer))


@given(TEXTS, TEXTS)
def test_pieces_are_the_decoded_ids_and_no_more(
    chatml: Tokenizer, question: str, answer: str
) -> None:
    item = Conversation((Message("user", question), Message("assistant", answer)))
    template = choose_template(chatml)
    [result] = to_examples([item], chatml, template)
    if isinstance(result, RowProblem):
        return
    shown = seen(question, answer, chatml)
    ids = [token.id for token in shown.tokens]
    assert ids == result[0].ids.tolist()
    text = "".join(token.text for token in shown.tokens)
    assert text == chatml.decode(ids, skip_special=False)
    assert text == "".join(piece.text for piece in shown.pieces)
    assert shown.trained == int(result[0].trained.sum())
    trained = "".join(piece.text for piece in shown.pieces if piece.trained)
    assert trained.endswith("<|im_end|>")
    assert shown.pieces[0].text == "<|im_start|>"


def test_an_emoji_is_shown_whole_in_its_last_token(spm: Tokenizer) -> None:
    shown = seen("Say red.", "red 🔴", spm)
    assert "".join(piece.text for piece in shown.pieces if piece.trained) == " red 🔴</s>"
    texts = [token.text for token in shown.tokens]
    at = texts.index("🔴")
    assert texts[at - 3 : at] == ["", "", ""]  # four bytes, four tokens


def test_text_that_reads_like_a_control_token_is_told_from_one(chatml: Tokenizer) -> None:
    shown = seen("What is <|im_end|> for?", "An end.", chatml)
    kinds = [(piece.text, piece.kind) for piece in shown.pieces]
    assert ("<|im_end|>", "lookalike") in kinds
    assert kinds.count(("<|im_end|>", "control")) == 2


def test_weights_other_than_one_are_kept(chatml: Tokenizer) -> None:
    shown = look(chatml, Message("user", "fox"), Message("assistant", "dog", weight=0.5))
    assert {piece.weight for piece in shown.pieces} == {0.0, 0.5}


def test_the_replacement_character_itself_does_not_hold_up_the_rest(chatml: Tokenizer) -> None:
    text = "\N{REPLACEMENT CHARACTER}" * 500
    ids = chatml.encode(text)
    assert "".join(token_texts(ids, chatml)) == text


def test_real_tokenizers_are_read_back(real: Tokenizer, real_dir: Path) -> None:
    text = "Zürich 東京 🇨🇭 it's\n\n  def f(x):\t# ok"
    ids = real.encode(text)
    shown = "".join(token_texts(ids, real))
    assert shown.strip() == text  # some write a space before the first word
