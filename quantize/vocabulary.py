"""A model directory's tokenizer as a GGUF vocabulary.

Two kinds are known. A byte-level BPE becomes GGUF's ``gpt2`` vocabulary: tokens, merges, and the
name of the pre-tokenizer that llama.cpp shall apply (``pretokenizers.py``). A SentencePiece BPE
becomes GGUF's ``llama`` vocabulary, which has no merges: llama.cpp joins whichever neighbours
make the token with the highest score. With score = -(index of the first merge that makes the
token) that is the order in which the merges apply.

``tokenizer.json`` is what training tokenizes with, so it decides where it exists; a
``tokenizer.model`` is read only where it is alone.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
from gguf import TokenType

from edgetune.errors import RequestError

from .architectures import read_json
from .pretokenizers import recognize

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_CONTROL_LOOK = re.compile(r"<\|.*\|>")
_SPACE = "▁"

# llama.cpp ends the generation at these texts without being told (only those that name an end).
_KNOWN_ENDS = frozenset(
    ("</s>", "<eos>", "<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<|endoftext|>")
) | {"<|end_of_text|>", "<end_of_turn>", "<end_of_utterance>", "<EOT>", "[EOT]", "[EOS]"}


@dataclass
class Vocabulary:
    """What goes into the GGUF; ``tokens``, ``scores`` and ``types`` run by token id."""

    model: str
    """GGUF's name for the algorithm: "llama" (SentencePiece) or "gpt2" (byte-level BPE)."""
    pre: str
    tokens: list[str]
    types: list[int]
    scores: list[float] = field(default_factory=list)
    merges: list[str] = field(default_factory=list)
    special: dict[str, int] = field(default_factory=dict)
    """"bos", "eos", "unk", "pad", and for further end tokens "eot" and "eom": their ids."""
    add_bos: bool = False
    add_space_prefix: bool = False
    notes: list[str] = field(default_factory=list)

    def pad(self, rows: int, where: Path) -> None:
        """Fill up with unused tokens to the number of embedding ``rows``: they must agree."""
        if len(self.tokens) > rows:
            raise RequestError(
                f"{where}: the tokenizer has {len(self.tokens)} tokens, "
                f"but the model only {rows} embedding rows.",
                "Use the tokenizer that belongs to the model.",
            )
        taken = set(self.tokens)
        for index in range(len(self.tokens), rows):
            text = f"[PAD{index}]"
            while text in taken:
                text += "_"
            self.tokens.append(text)
            self.types.append(TokenType.UNUSED)
            if self.scores:
                self.scores.append(-1e9)

    def write(self, writer: gguf.GGUFWriter) -> None:
        """Write everything under ``tokenizer.ggml``."""
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        if self.scores:
            writer.add_token_scores(self.scores)
        # Plain ints become INT32, which llama.cpp insists on.
        writer.add_token_types([int(kind) for kind in self.types])
        if self.merges:
            writer.add_token_merges(self.merges)
        for name, token in self.special.items():
            writer.add_uint32(f"tokenizer.ggml.{_SPECIAL_KEYS[name]}_token_id", token)
        writer.add_add_bos_token(self.add_bos)
        writer.add_add_eos_token(False)
        if self.model == "llama":
            writer.add_add_space_prefix(self.add_space_prefix)


_SPECIAL_KEYS = {
    "bos": "bos",
    "eos": "eos",
    "unk": "unknown",
    "pad": "padding",
    "eot": "eot",
    "eom": "eom",
}


def read_vocabulary(model_dir: Path) -> Vocabulary:
    """The vocabulary of a model directory (not yet padded to the embedding rows).

    Raises RequestError, naming the file, for a tokenizer that llama.cpp cannot reproduce.
    """
    if (model_dir / "tokenizer.json").is_file():
        vocabulary = _from_json(model_dir / "tokenizer.json")
    elif (model_dir / "tokenizer.model").is_file():
        vocabulary = _from_sentencepiece(model_dir / "tokenizer.model")
    else:
        raise RequestError(
            f"{model_dir} holds neither tokenizer.json nor tokenizer.model.",
            "Copy the tokenizer of the base model there.",
        )
    _add_special(vocabulary, model_dir)
    return vocabulary


# --- tokenizer.json ---------------------------------------------------------------------------


def _from_json(path: Path) -> Vocabulary:
    document = read_json(path)
    model = document.get("model") or {}
    if model.get("type") != "BPE" or not isinstance(model.get("vocab"), dict):
        raise RequestError(
            f"{path}: a tokenizer of the type {model.get('type')} cannot be converted.",
            "BPE tokenizers can, byte-level and SentencePiece ones.",
        )
    added: list[dict[str, Any]] = document.get("added_tokens") or []
    merges = [_pair(merge) for merge in model.get("merges") or []]
    if document.get("pre_tokenizer") is None or _is_metaspace(document["pre_tokenizer"]):
        vocabulary = _sentencepiece_like(path, document, model, merges)
    else:
        vocabulary = _byte_level(path, document, model, merges)
    _place_tokens(path, vocabulary, model["vocab"], added, model.get("unk_token"))
    if vocabulary.model == "llama":
        rank: dict[str, int] = {}
        for index, (left, right) in enumerate(merges):
            rank.setdefault(left + right, index)
        # A token that no merge makes is never made from its parts: the lowest score of all.
        vocabulary.scores = [
            float(-rank[token]) if token in rank else _unmerged_score(token, len(merges))
            for token in vocabulary.tokens
        ]
    stripping = [token["content"] for token in added if token.get("lstrip") or token.get("rstrip")]
    if stripping:
        vocabulary.notes.append(
            f"{path.name}: {', '.join(stripping[:5])} take spaces beside them away when "
            "tokenizing; a GGUF cannot say so."
        )
    return vocabulary


def _unmerged_score(token: str, merges: int) -> float:
    return 0.0 if len(token) == 1 else -float(merges + 1)


def _pair(merge: Any) -> tuple[str, str]:
    left, right = merge if isinstance(merge, list) else merge.split(" ", 1)
    return left, right


def _is_metaspace(pre_tokenizer: dict[str, Any]) -> bool:
    return pre_tokenizer.get("type") == "Metaspace"


def _steps(node: dict[str, Any] | None, key: str) -> list[dict[str, Any]]:
    """A normalizer or pre-tokenizer as a flat list of its steps."""
    if node is None:
        return []
    if node.get("type") == "Sequence":
        return [step for child in node[key] for step in _steps(child, key)]
    return [node]


def _sentencepiece_like(
    path: Path, document: dict[str, Any], model: dict[str, Any], merges: list[tuple[str, str]]
) -> Vocabulary:
    prefix, escaped = False, False
    for step in _steps(document.get("normalizer"), "normalizers"):
        if step["type"] == "Prepend" and step.get("prepend") == _SPACE:
            prefix = True
        elif (
            step["type"] == "Replace"
            and step.get("pattern") == {"String": " "}
            and step.get("content") == _SPACE
        ):
            escaped = True
        else:
            raise RequestError(
                f"{path}: llama.cpp does not know the normalizer {step['type']}.",
                "Choose a base model with a plain SentencePiece or byte-level tokenizer.",
            )
    metaspace = document.get("pre_tokenizer")
    if metaspace is not None:
        if metaspace.get("replacement") != _SPACE or metaspace.get("split", True):
            raise RequestError(
                f"{path}: llama.cpp does not split at spaces as this Metaspace does.",
                "Choose a base model with a plain SentencePiece or byte-level tokenizer.",
            )
        # "first" puts the space before the text's very beginning only. llama.cpp would put it
        # after every special token as well, so it is left away: a prompt begins with a special
        # token, and there "first" adds nothing.
        prefix = metaspace.get("prepend_scheme", "always") == "always"
        escaped = True
    if not escaped:
        raise RequestError(
            f"{path}: neither a byte-level nor a SentencePiece tokenizer.",
            "Choose a base model with one of these.",
        )
    vocabulary = Vocabulary("llama", "default", [], [], add_space_prefix=prefix)
    if not model.get("byte_fallback"):
        vocabulary.notes.append(
            f"{path.name}: the vocabulary has no byte tokens; llama.cpp cannot tokenize a "
            "character outside of it."
        )
    vocabulary.add_bos = _adds_bos(document)
    return vocabulary


def _byte_level(
    path: Path, document: dict[str, Any], model: dict[str, Any], merges: list[tuple[str, str]]
) -> Vocabulary:
    pre = recognize(
        path,
        _steps(document["pre_tokenizer"], "pretokenizers"),
        bool(model.get("ignore_merges")),
    )
    vocabulary = Vocabulary("gpt2", pre, [], [], merges=[f"{a} {b}" for a, b in merges])
    for step in _steps(document.get("normalizer"), "normalizers"):
        if step["type"] != "NFC":
            raise RequestError(
                f"{path}: llama.cpp does not know the normalizer {step['type']}.",
                "Choose a base model with a plain SentencePiece or byte-level tokenizer.",
            )
        vocabulary.notes.append(
            f"{path.name}: the tokenizer composes characters (NFC), llama.cpp does not; text in "
            "decomposed form gets other tokens there."
        )
    vocabulary.add_bos = _adds_bos(document)
    return vocabulary


def _adds_bos(document: dict[str, Any]) -> bool:
    """Whether the tokenizer begins a text with a special token of its own accord."""
    for step in _steps(document.get("post_processor"), "processors"):
        if step["type"] == "TemplateProcessing" and "SpecialToken" in (step["single"] or [{}])[0]:
            return True
    return False


def _place_tokens(
    path: Path,
    vocabulary: Vocabulary,
    base: dict[str, int],
    added: list[dict[str, Any]],
    unknown: str | None,
) -> None:
    by_id: dict[int, tuple[str, int]] = {}
    for text, token in base.items():
        kind = TokenType.NORMAL
        if vocabulary.model == "llama" and _BYTE.fullmatch(text):
            kind = TokenType.BYTE
        by_id[token] = (text, kind)
    for entry in added:
        text = entry["content"]
        if entry.get("special") or _CONTROL_LOOK.fullmatch(text):
            kind = TokenType.CONTROL
        else:
            kind = TokenType.USER_DEFINED
            if vocabulary.model == "llama":
                # llama.cpp looks for these in the text as it is typed, with real spaces.
                text = text.replace(_SPACE, " ")
        by_id[entry["id"]] = (text, kind)
    if unknown is not None and unknown in base:
        by_id[base[unknown]] = (unknown, TokenType.UNKNOWN)
    _fill(path, vocabulary, by_id)


def _fill(path: Path, vocabulary: Vocabulary, by_id: dict[int, tuple[str, int]]) -> None:
    """Set the tokens from id -> (text, type); gaps become unused tokens."""
    if not by_id:
        raise RequestError(f"{path}: the tokenizer has no tokens.")
    first: dict[str, int] = {}
    for token, (text, _) in by_id.items():
        if first.setdefault(text, token) != token:
            raise RequestError(
                f"{path}: the token {text!r} has two ids, which llama.cpp refuses.",
                "Remove the double token.",
            )
    for token in range(max(by_id) + 1):
        text, kind = by_id.get(token, (f"[PAD{token}]", TokenType.UNUSED))
        vocabulary.tokens.append(text)
        vocabulary.types.append(kind)


# --- tokenizer.model --------------------------------------------------------------------------


def _from_sentencepiece(path: Path) -> Vocabulary:
    from sentencepiece import sentencepiece_model_pb2 as sentencepiece

    model = sentencepiece.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except Exception as error:  # protobuf's DecodeError, wherever that lives in this version
        raise RequestError(f"{path} is not a SentencePiece model ({error}).") from error
    if model.trainer_spec.model_type != sentencepiece.TrainerSpec.BPE:
        raise RequestError(
            f"{path}: only SentencePiece models of the type BPE can be converted.",
            "Choose a base model with a BPE tokenizer.",
        )
    vocabulary = Vocabulary("llama", "default", [], [], add_bos=True)
    vocabulary.add_space_prefix = model.normalizer_spec.add_dummy_prefix
    by_id = {}
    for token, piece in enumerate(model.pieces):
        # SentencePiece and GGUF number the types alike, from NORMAL = 1 to BYTE = 6.
        text = piece.piece
        if piece.type == TokenType.USER_DEFINED:
            text = text.replace(_SPACE, " ")
        by_id[token] = (text, int(piece.type))
    _fill(path, vocabulary, by_id)
    vocabulary.scores = [piece.score for piece in model.pieces]
    for name in ("bos", "eos", "unk", "pad"):
        token = getattr(model.trainer_spec, f"{name}_id")
        if 0 <= token < len(vocabulary.tokens):
            vocabulary.special[name] = token
    return vocabulary


# --- special tokens ---------------------------------------------------------------------------


def _add_special(vocabulary: Vocabulary, model_dir: Path) -> None:
    """Find the special tokens by name in the tokenizer's configuration, else by id in the
    model's, and every token that ends the generation."""
    settings: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (model_dir / name).is_file():
            settings.update(read_json(model_dir / name))
    ids = {text: token for token, text in enumerate(vocabulary.tokens)}
    config = {}
    for name in ("config.json", "generation_config.json"):
        if (model_dir / name).is_file():
            config[name] = read_json(model_dir / name)

    def by_name(name: str) -> int | None:
        value = settings.get(f"{name}_token")
        text = value.get("content") if isinstance(value, dict) else value
        return ids.get(text) if isinstance(text, str) else None

    def by_id(name: str) -> list[int]:
        values = [source.get(f"{name}_token_id") for source in reversed(config.values())]
        return [
            token
            for value in values
            for token in (value if isinstance(value, list) else [value])
            if isinstance(token, int) and 0 <= token < len(vocabulary.tokens)
        ]

    for name in ("bos", "eos", "unk", "pad"):
        found = by_name(name)
        candidates = [found] if found is not None else by_id(name)
        if candidates:
            vocabulary.special[name] = candidates[0]
    if "eos" in vocabulary.special:
        _add_further_ends(vocabulary, by_id("eos"))
    if isinstance(settings.get("add_bos_token"), bool):
        vocabulary.add_bos = settings["add_bos_token"]
    if "bos" not in vocabulary.special:
        vocabulary.add_bos = False


def _add_further_ends(vocabulary: Vocabulary, candidates: Iterable[int]) -> None:
    # llama.cpp has places for two more ends; those that it would not know by their text come
    # first, so that a longer list is still honoured where possible.
    ends = [token for token in dict.fromkeys(candidates) if token != vocabulary.special["eos"]]
    ends.sort(key=lambda token: vocabulary.tokens[token] in _KNOWN_ENDS)
    for name, token in zip(("eot", "eom"), ends, strict=False):
        vocabulary.special[name] = token
    lost = [vocabulary.tokens[token] for token in ends[2:]]
    lost = [text for text in lost if text not in _KNOWN_ENDS]
    if lost:
        vocabulary.notes.append(f"A GGUF has no place for the end tokens {', '.join(lost)}.")
