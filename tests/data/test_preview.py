"""What is shown of a row is what its tokens say, each in its place."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetune.data.conversation import Conversation, Message
from edgetune.data.preview import View, preview, token_texts
from edgetune.data.template import RowProblem, to_examples
from edgetune.data.templates.builtin import choose_template
from edgetune.data.tokenizer import Tokenizer

TEXTS = st.text(st.characters(exclude_categories=["Cs"])).filter(str.strip)


def seen(question: str, answer: str, tokenizer: Tokenizer) -> View:
    item = Conversation((Message("user", question), Message("assistant", answer)))
    [view] = preview(item, tokenizer, choose_template(tokenizer))
    return view


@given(TEXTS, TEXTS)
def test_pieces_are_the_decoded_ids_and_no_more(
    chatml: Tokenizer, question: str, answer: str
) -> None:
    item = Conversation((Message("user", question), Message("assistant", answer)))
    template = choose_template(chatml)
    [result] = to_examples([item], chatml, template)
    if isinstance(result, RowProblem):
        return
    [view] = preview(item, chatml, template)
    ids = [token.id for token in view.tokens]
    assert ids == result[0].ids.tolist()
    text = "".join(token.text for token in view.tokens)
    assert text == chatml.decode(ids, skip_special=False)
    assert text == "".join(piece.text for piece in view.pieces)
    assert view.trained == int(result[0].trained.sum())
    trained = "".join(piece.text for piece in view.pieces if piece.trained)
    assert trained.endswith("<|im_end|>")
    assert view.pieces[0].text == "<|im_start|>"


def test_an_emoji_is_shown_whole_in_its_last_token(spm: Tokenizer) -> None:
    view = seen("Say red.", "red 🔴", spm)
    assert "".join(piece.text for piece in view.pieces if piece.trained) == " red 🔴</s>"
    texts = [token.text for token in view.tokens]
    at = texts.index("🔴")
    assert texts[at - 3 : at] == ["", "", ""]  # four bytes, four tokens


def test_text_that_reads_like_a_control_token_is_told_from_one(chatml: Tokenizer) -> None:
    view = seen("What is <|im_end|> for?", "An end.", chatml)
    kinds = [(piece.text, piece.kind) for piece in view.pieces]
    assert ("<|im_end|>", "lookalike") in kinds
    assert kinds.count(("<|im_end|>", "control")) == 2


def test_weights_other_than_one_are_kept(chatml: Tokenizer) -> None:
    messages = (Message("user", "fox"), Message("assistant", "dog", weight=0.5))
    [view] = preview(Conversation(messages), chatml, choose_template(chatml))
    assert {piece.weight for piece in view.pieces} == {0.0, 0.5}


def test_the_replacement_character_itself_does_not_hold_up_the_rest(chatml: Tokenizer) -> None:
    text = "\N{REPLACEMENT CHARACTER}" * 500
    ids = chatml.encode(text)
    assert "".join(token_texts(ids, chatml)) == text


def test_real_tokenizers_are_read_back(real: Tokenizer, real_dir: Path) -> None:
    text = "Zürich 東京 🇨🇭 it's\n\n  def f(x):\t# ok"
    ids = real.encode(text)
    shown = "".join(token_texts(ids, real))
    assert shown.strip() == text  # some write a space before the first word


def test_a_row_without_a_place_in_the_template_is_refused(spm: Tokenizer) -> None:
    with pytest.raises(RowProblem):
        preview(Conversation((Message("user", "only asks"),)), spm, choose_template(spm))
