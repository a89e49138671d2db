"""A conversation as the model sees it, cut into stretches that are trained and that are not."""

from dataclasses import dataclass

from edgetune.data.formats import Conversation
from edgetune.data.template import ChatTemplate, Example, to_example
from edgetune.data.tokenizer import Tokenizer


@dataclass(frozen=True)
class Piece:
    """A stretch of the rendered text whose tokens are all of one kind."""

    text: str
    trained: bool
    special: bool
    """Control tokens."""


def preview(
    conversation: Conversation, tokenizer: Tokenizer, template: ChatTemplate
) -> tuple[Example, list[Piece]]:
    """The example of a conversation and its text in pieces; joined they are the whole text.

    Raises RowProblem where the conversation cannot become an example.
    """
    example = to_example(conversation, tokenizer, template)
    text = template.render(conversation.messages)
    ids, offsets = tokenizer.encode_with_offsets(text)
    pieces: list[Piece] = []
    place = 0
    for token, trained, (_, token_end) in zip(ids, example.trained, offsets, strict=True):
        # Tokens that share a character (bytes of one emoji) overlap: each character goes once.
        end = max(place, token_end)
        kind = (bool(trained), token in tokenizer.special_ids)
        if pieces and (pieces[-1].trained, pieces[-1].special) == kind:
            pieces[-1] = Piece(pieces[-1].text + text[place:end], *kind)
        else:
            pieces.append(Piece(text[place:end], *kind))
        place = end
    return example, pieces
