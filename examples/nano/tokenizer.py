"""Train the tokenizer on the corpus and write it in both forms people load.

The SentencePiece model is the source. ``tokenizer.json`` is derived from it: a byte-fallback BPE
whose merges are ordered by the score of the piece they make, which is how SentencePiece itself
picks them. The newline is a symbol of its own, so that a text after it starts with the same
pieces as after a space in running prose.

    python tokenizer.py --corpus corpus.jsonl --out model
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import corpus
import sentencepiece as spm
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

VOCABULARY = 2048
UNK, BOS, EOS = "<unk>", "<s>", "</s>"
SPACE = "\u2581"
TRAINING_DOCUMENTS = 30_000
PROBES = (
    "",
    " ",
    "   ",
    "a",
    " a",
    "a ",
    "  two  spaces  ",
    "tab\there\t\tand\t",
    "line\n\n next\n answer\n",
    "\n",
    "What is the capital of Norland?\n Velm",
    "caf\u00e9 na\u00efve \u00fcber \u00df \u6771\u4eac \u0434\u0430",
    "emoji \U0001f600\U0001f469\u200d\U0001f4bb!",
    "12 + 345 = 357; 3.14% (x_1) [y] {z} ~`@#$^&*|\\/\"'",
    "\u00a0non-breaking\u3000wide\u200bzero",
    "\r\nCRLF\r",
)


def train(texts: list[str], directory: Path) -> spm.SentencePieceProcessor:
    """Train SentencePiece on `texts` and write ``tokenizer.model`` into `directory`."""
    partial = directory / "tokenizer.partial"
    with partial.open("wb") as stream:
        spm.SentencePieceTrainer.train(
            sentence_iterator=(line for text in texts for line in text.split("\n")),
            model_writer=stream,
            model_type="bpe",
            vocab_size=VOCABULARY,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            byte_fallback=True,
            split_digits=True,
            character_coverage=1.0,
            required_chars="".join(map(chr, range(33, 127))),
            user_defined_symbols=["\n"],
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=-1,
            num_threads=1,
            minloglevel=2,
        )
    partial.replace(directory / "tokenizer.model")
    return spm.SentencePieceProcessor(model_file=str(directory / "tokenizer.model"))


def merges(processor: spm.SentencePieceProcessor) -> list[tuple[str, str]]:
    """Return the merges that rebuild the learned pieces, best score first."""
    pieces = {
        processor.id_to_piece(i): processor.get_score(i)
        for i in range(processor.get_piece_size())
        if not (processor.is_control(i) or processor.is_unknown(i) or processor.is_byte(i))
    }
    found = []
    for piece, score in pieces.items():
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in pieces and right in pieces:
                found.append((-score, cut, left, right))
    # Of two splits of one piece SentencePiece takes whichever pair comes up first: both are kept.
    return [(left, right) for _, _, left, right in sorted(found)]


def to_fast(processor: spm.SentencePieceProcessor) -> Tokenizer:
    """Build the Hugging Face tokenizer with the same ids."""
    vocabulary = {processor.id_to_piece(i): i for i in range(processor.get_piece_size())}
    fast = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=merges(processor),
            unk_token=UNK,
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    fast.normalizer = normalizers.Replace(" ", SPACE)
    fast.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    fast.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in (UNK, BOS, EOS)]
    )
    fast.add_tokens([AddedToken("\n", special=False, normalized=False)])
    fast.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, processor.bos_id())]
    )
    return fast


def save(fast: Tokenizer, directory: Path) -> None:
    """Write ``tokenizer.json`` and ``tokenizer_config.json`` into `directory`."""
    settings = {
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": BOS,
        "clean_up_tokenization_spaces": False,
        "eos_token": EOS,
        "model_max_length": 512,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": UNK,
    }
    fast.save(str(directory / "tokenizer.json"), pretty=False)
    (directory / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def disagreements(
    processor: spm.SentencePieceProcessor, fast: Tokenizer, texts: Iterable[str]
) -> list[str]:
    """Return the texts that the two tokenizers encode differently or do not give back."""
    return [
        text
        for text in texts
        if (ids := processor.encode(text)) != fast.encode(text, add_special_tokens=False).ids
        or processor.decode(ids) != text
        or fast.decode(ids, skip_special_tokens=False) != text
    ]


def build(texts: list[str], directory: Path) -> None:
    """Train on `texts`, write all files, and check that both forms agree on them."""
    directory.mkdir(parents=True, exist_ok=True)
    processor = train(texts[:TRAINING_DOCUMENTS], directory)
    fast = to_fast(processor)
    save(fast, directory)
    if wrong := disagreements(processor, fast, [*PROBES, *texts]):
        raise SystemExit(f"{len(wrong)} texts are encoded differently, the first: {wrong[0]!r}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, default=Path("corpus.jsonl"))
    parser.add_argument("--out", type=Path, default=Path("model"))
    arguments = parser.parse_args()
    build(corpus.read(arguments.corpus), arguments.out)
