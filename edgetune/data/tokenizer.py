"""A model's tokenizer as edgetune uses it: text to ids and back, and which ids are control tokens.

The ids come from the Rust tokenizer behind the model's ``tokenizer.json``, the same that
transformers runs. Nothing is ever added to a text: what begins and ends a prompt is written by
the chat template alone, so a beginning-of-text token can neither be doubled nor forgotten.
"""

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from edgetune.data.templates.provenance import Controls, pieces
from edgetune.errors import RequestError

_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
    "generation_config.json",
)


class Tokenizer:
    """The tokenizer of a model directory; make one with ``Tokenizer.from_directory``."""

    bos: str
    """Text of the beginning-of-text token; "" where the model has none."""
    eos: str
    """Text of the end-of-text token; "" where the model has none."""
    bos_id: int | None
    eos_id: int | None
    eos_ids: frozenset[int]
    """Every token at which the model's own files say that generation stops."""
    special_ids: frozenset[int]
    """Control tokens: they structure a prompt and never belong to a text."""
    size: int
    """Highest token id + 1."""
    chat_template: str | None
    """The model's own chat template (Jinja), or None."""
    files: list[Path]
    """The tokenizer's files, to be copied along with an adapter or a fused model."""
    controls: Controls
    """Finds the control tokens' texts."""
    adds_bos: bool
    """Whether a text that is encoded on its own begins with the beginning-of-text token."""

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        *,
        bos: str,
        eos: str,
        stops: Sequence[int] = (),
        chat_template: str | None = None,
        files: Sequence[Path] = (),
    ) -> None:
        self._backend = backend
        # Settings saved with the tokenizer would cut or pad what is encoded.
        backend.no_truncation()
        backend.no_padding()
        self.bos, self.eos = bos, eos
        self.bos_id, self.eos_id = self._id(bos), self._id(eos)
        added = backend.get_added_tokens_decoder()
        self.size = max([backend.get_vocab_size(with_added_tokens=True), *(i + 1 for i in added)])
        own = {i for i in (self.eos_id,) if i is not None}
        self.eos_ids = frozenset(own | {i for i in stops if 0 <= i < self.size})
        special = {i for i, token in added.items() if token.special} | self.eos_ids
        self.special_ids = frozenset(special | {i for i in (self.bos_id,) if i is not None})
        self.chat_template = chat_template
        self.files = list(files)
        texts = {self.token_text(i): i for i in self.special_ids}
        self.controls = Controls(texts)
        self._control_ids = texts
        self._is_control = np.zeros(self.size, dtype=bool)
        self._is_control[list(self.special_ids)] = True
        first = backend.encode("a", add_special_tokens=True).ids[:1]
        self.adds_bos = self.bos_id is not None and first == [self.bos_id]
        self._renamed: tokenizers.Tokenizer | None = None
        self._unknown_id = _unknown_id(backend)

    @classmethod
    def from_directory(cls, model_dir: Path) -> "Tokenizer":
        """Read the tokenizer of a model directory in Hugging Face layout.

        Raises RequestError if a file is missing or damaged.
        """
        backend = _read_backend(model_dir)
        config = _read_json(model_dir / "tokenizer_config.json")
        names = _read_json(model_dir / "special_tokens_map.json") | config
        stops: list[int] = []
        for file in ("generation_config.json", "config.json"):
            value = _read_json(model_dir / file).get("eos_token_id")
            values = value if isinstance(value, list) else [value]
            stops += [i for i in values if isinstance(i, int)]
        eos = _token_name(names.get("eos_token"))
        if not eos and stops:
            eos = backend.id_to_token(stops[0]) or ""
        return cls(
            backend,
            bos=_token_name(names.get("bos_token")),
            eos=eos,
            stops=stops,
            chat_template=_read_chat_template(model_dir, config),
            files=[model_dir / name for name in _FILES if (model_dir / name).is_file()],
        )

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text``; control tokens written in it are parsed, none is added."""
        ids: list[int] = self._backend.encode(text, add_special_tokens=False).ids
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[tokenizers.Encoding]:
        """Encodings (``ids``, ``char_to_token``, ``token_to_chars``) of texts, on all cores."""
        encodings: list[tokenizers.Encoding] = self._backend.encode_batch(
            list(texts), add_special_tokens=False
        )
        return encodings

    def encode_pieces(self, stretches: Sequence[tuple[str, bool]]) -> "Encoding":
        """The encoding of a text in stretches, of which only the marked ones are control tokens:
        one that is written out in another stretch is encoded as any other text.

        The ids are otherwise those of the joined text. Raises RequestError if that cannot be had.
        """
        encoding = self._encode_stretches(stretches)
        if self.control_ids(encoding.ids) != [
            self._control_ids[piece] for piece, is_control in stretches if is_control
        ]:
            raise RequestError(
                "This tokenizer makes a control token of a text, whatever stands around it.",
                "Take the names of control tokens out of the texts.",
            )
        return encoding

    def _encode_stretches(self, stretches: Sequence[tuple[str, bool]]) -> "Encoding":
        if self._renamed is None:
            self._renamed = self._with_renamed_control_tokens()
        if any(_NAME_MARK in piece for piece, _ in stretches):
            raise RequestError(
                "A text holds the noncharacter U+FDD0 and a control token's name.",
                "Remove one of them.",
            )
        texts: list[str] = []
        place = 0
        # For each character of the renamed text the stretch of the real one that it stands for.
        begins: list[int] = []
        ends: list[int] = []
        for piece, is_control in stretches:
            after = place + len(piece)
            if is_control:
                name = _new_name(self._control_ids[piece])
                texts.append(name)
                begins += [place] * len(name)
                ends += [after] * len(name)
            else:
                texts.append(piece)
                begins += range(place, after)
                ends += range(place + 1, after + 1)
            place = after
        encoding = self._renamed.encode("".join(texts), add_special_tokens=False)
        offsets = [
            (begins[start], ends[end - 1]) if start < end else (place, place)
            for start, end in encoding.offsets
        ]
        return Encoding(encoding.ids, offsets)

    def control_ids(self, ids: Sequence[int]) -> list[int]:
        """The control tokens among the tokens, in their order."""
        array = np.asarray(ids, dtype=np.int64)
        found: list[int] = array[self._is_control[array]].tolist()
        return found

    def _with_renamed_control_tokens(self) -> tokenizers.Tokenizer:
        """The same tokenizer whose control tokens answer to names that no text holds."""
        description = json.loads(self._backend.to_str())
        names: dict[str, str] = {}
        for token in description["added_tokens"]:
            if token["id"] in self.special_ids:
                names[token["content"]] = token["content"] = _new_name(token["id"])
        model = description["model"]
        if model.get("unk_token") in names:
            model["unk_token"] = names[model["unk_token"]]
        vocab = model["vocab"]
        if isinstance(vocab, dict):
            model["vocab"] = {names.get(text, text): number for text, number in vocab.items()}
            # One that merges make as well has to stay; `encode_pieces` sees if they do.
            merged = {
                "".join(merge) for merge in model.get("merges", ()) if isinstance(merge, list)
            }
            model["vocab"] |= {
                text: vocab[text] for text in names if text in merged and text in vocab
            }
            # Those outside of the vocabulary get their ids by its size, which may have grown.
            model["vocab"] |= {
                token["content"]: token["id"] for token in description["added_tokens"]
            }
        else:
            model["vocab"] = [[names.get(text, text), score] for text, score in vocab]
        # It would only add tokens, and names them as they were.
        description["post_processor"] = None
        return tokenizers.Tokenizer.from_str(json.dumps(description))

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        """The text of ``ids``, without the control tokens unless ``skip_special`` is False."""
        text: str = self._backend.decode([int(i) for i in ids], skip_special_tokens=skip_special)
        return text

    def token_text(self, token_id: int) -> str:
        """The token as the vocabulary writes it (``▁word``, ``Ġword``, ``<0x0A>``)."""
        text: str | None = self._backend.id_to_token(token_id)
        if text is None:
            raise RequestError(f"The tokenizer has no token {token_id}.")
        return text

    def id_of(self, text: str) -> int:
        """The id of a control token."""
        return self._control_ids[text]

    def special_text(self, text: str) -> str | None:
        """The first control token that stands written out in ``text``, or None."""
        return self.controls.found(text)

    def unknown_text(self, text: str) -> str | None:
        """The first character of ``text`` that this vocabulary cannot write, or None.

        Only small vocabularies without byte tokens have such characters. They become the unknown
        token here, and end the process in llama.cpp, so no prompt may hold one.
        """
        unknown_id = self._unknown_id
        if unknown_id is None:
            return None
        unknown = self.token_text(unknown_id)
        for piece, is_control in pieces(text, self.controls.places(text)):
            if is_control and piece != unknown:
                continue
            encoding = self._encode_stretches([(piece, False)])
            if unknown_id in encoding.ids:
                start, end = encoding.token_to_chars(encoding.ids.index(unknown_id))
                # Several in a row become one unknown token; a space belongs to the word after it.
                return (piece[start:end].strip(" ") or piece[start:end] or piece)[:1]
        return None

    def _id(self, text: str) -> int | None:
        token_id: int | None = self._backend.token_to_id(text) if text else None
        if text and token_id is None:
            raise RequestError(
                f"The tokenizer's configuration names the token `{text}`, which its vocabulary "
                "does not have.",
                "The files do not belong together: fetch the model again.",
            )
        return token_id


def _unknown_id(backend: tokenizers.Tokenizer) -> int | None:
    """The token of characters that the vocabulary lacks; None where it can write them all."""
    model = backend.model
    if getattr(model, "byte_fallback", False):
        return None
    if isinstance(model, tokenizers.models.Unigram):
        unknown: int | None = json.loads(backend.to_str())["model"].get("unk_id")
        return unknown
    text = getattr(model, "unk_token", None)
    return None if text is None else backend.token_to_id(text)


_NAME_MARK = "\ufdd0"
# A noncharacter, which Unicode keeps for such inner use.


def _new_name(token_id: int) -> str:
    return f"{_NAME_MARK}{token_id}{_NAME_MARK}"


@dataclass(frozen=True)
class Encoding:
    """Token ids, and for each the characters [start, end) that it came from."""

    ids: list[int]
    offsets: list[tuple[int, int]]

    def token_to_chars(self, token: int) -> tuple[int, int]:
        """The characters of a token."""
        return self.offsets[token]

    def char_to_token(self, position: int) -> int | None:
        """The first token that holds a character; None for one that became no token."""
        token = bisect_right(self.offsets, position, key=lambda offset: offset[1])
        if token < len(self.offsets) and self.offsets[token][0] <= position:
            return token
        return None


def _read_backend(model_dir: Path) -> tokenizers.Tokenizer:
    file = model_dir / "tokenizer.json"
    if not file.is_file():
        if (model_dir / "tokenizer.model").is_file():
            from edgetune.data.spm import convert

            return convert(model_dir / "tokenizer.model")
        raise RequestError(
            f"There is no tokenizer in {model_dir}: neither tokenizer.json nor tokenizer.model.",
            "Choose a model directory that is complete.",
        )
    try:
        return tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the Rust side raises nothing more precise
        raise RequestError(
            f"The tokenizer {file} cannot be read: {error}.", "Fetch the model again."
        ) from None


def _read_json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"{file} cannot be read: {error}.", "Fetch the model again.") from None
    return value if isinstance(value, dict) else {}


def _token_name(value: Any) -> str:
    # Written as plain text or as an object with further properties.
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""


def _read_chat_template(model_dir: Path, config: dict[str, Any]) -> str | None:
    file = model_dir / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    template = config.get("chat_template")
    if isinstance(template, list):  # several, by name
        named = {item.get("name"): item.get("template") for item in template}
        template = named.get("default")
        if isinstance(template, str) and isinstance(named.get("tool_use"), str):
            # That for conversations with tools, as transformers chooses it.
            return f"{{% if tools %}}{named['tool_use']}{{% else %}}{template}{{% endif %}}"
    return template if isinstance(template, str) else None
