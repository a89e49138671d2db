"""SentencePiece ``tokenizer.model`` -> the same tokenizer for the ``tokenizers`` library.

For model directories that have no ``tokenizer.json``. transformers has a converter too, but what
it makes drops the space before a word that follows a control token, which SentencePiece-based
inference such as llama.cpp's writes; training and inference would see different tokens. The
conversion here is checked against SentencePiece itself and refused where the two differ.
"""

from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers

from edgetune.errors import RequestError

_SPACE = "▁"
# No double spaces: some models are marked to drop them, which inference engines do not do.
_PROBES = (
    "Hello, world!",
    "tab\tand words",
    "line\n\nbreaks\n",
    "don't, 3.14159, 12345",
    "naïve café, Привет, 你好, 🙂",
    "ﬁne ½ ① full-width Ａ",
    "x = {'a': [1, 2]}; print(f\"{x!r:>10}\")",
)


def convert(file: Path) -> tokenizers.Tokenizer:
    """The tokenizer in a SentencePiece BPE model.

    Raises RequestError if the file is damaged or of a kind that cannot be converted exactly.
    """
    import sentencepiece

    original = sentencepiece.SentencePieceProcessor()
    try:
        original.Load(str(file))
    except (OSError, RuntimeError) as error:
        raise RequestError(
            f"The tokenizer {file} cannot be read: {error}.", "Fetch the model again."
        ) from None
    converted = _build(original)
    for text in _PROBES:
        if converted.encode(text, add_special_tokens=False).ids != original.Encode(text):
            raise RequestError(
                f"The tokenizer {file} is of a kind that cannot be converted exactly.",
                "Use a model directory with a tokenizer.json.",
            )
    return converted


def _build(original: Any) -> tokenizers.Tokenizer:
    size = original.GetPieceSize()
    vocabulary = {original.IdToPiece(i): i for i in range(size)}
    bytes_known = any(original.IsByte(i) for i in range(size))
    unknown = original.IdToPiece(original.unk_id())
    result = tokenizers.Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=_merges(original, vocabulary),
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=bytes_known,
        )
    )
    # A piece that begins with a space although the text does not shows the dummy prefix.
    prefix = original.EncodeAsPieces("a")[0].startswith(_SPACE)
    steps = [normalizers.Prepend(_SPACE)] if prefix else []
    result.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", _SPACE)])
    undo = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    result.decoder = decoders.Sequence([*undo, *([decoders.Strip(" ", 1, 0)] if prefix else [])])
    control = [i for i in range(size) if original.IsControl(i) or original.IsUnknown(i)]
    result.add_special_tokens(
        [AddedToken(original.IdToPiece(i), special=True, normalized=False) for i in control]
    )
    return result


def _merges(original: Any, vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    """Every way to put a piece together from two others, best score first: SentencePiece merges
    the neighbours whose joined piece scores highest."""
    ranked = []
    for piece, i in vocabulary.items():
        if len(piece) < 2 or original.IsByte(i) or original.IsControl(i) or original.IsUnknown(i):
            continue
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in vocabulary and right in vocabulary:
                ranked.append((-original.GetScore(i), i, cut, left, right))
    return [(left, right) for *_, left, right in sorted(ranked)]
