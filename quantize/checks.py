"""The single checks of a verification: what was expected against what llama.cpp answered.

``answer`` is what ``predict.py`` leaves: metadata, token texts, the ids of every text, the ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import is_normalized

import numpy as np
from gguf import TokenType

from .builds import Build
from .closeness import UNKNOWN, Closeness, compare, holds, limit_of
from .reference import Check, Reference

_SPACE = "▁"


@dataclass(frozen=True)
class Stored:
    """What a file says about itself: its chat template and the types of its tokens by id."""

    template: str | None
    types: list[int]


def check_token_ids(reference: Reference, answer: dict[str, Any]) -> Check:
    """The probe texts become the ids that training's tokenizer gives."""
    name = "token ids"
    expected, found = reference.text_ids, answer["ids"]
    different = [index for index, ids in enumerate(expected) if list(ids) != found[index]]
    # Some tokenizers put a space before the very beginning of a text and nowhere else. A GGUF
    # cannot say that; such a file adds none, which is right for every prompt, since prompts begin
    # with a special token. A space missing there would show in the prompt ids.
    if answer["metadata"].get("tokenizer.ggml.add_space_prefix") == "false":
        spaced = answer["spaced_ids"]
        different = [index for index in different if list(expected[index]) != spaced[index]]
    # llama.cpp cannot compose characters, which some tokenizers (Qwen's) do. That concerns only
    # texts in decomposed form and is no fault of the file.
    wrong = [index for index in different if is_normalized("NFC", reference.texts[index])]
    if not wrong:
        detail = f"equal on all {len(expected)} probe texts"
        if different:
            detail = (
                f"equal on {len(expected) - len(different)} of {len(expected)} probe texts; the "
                "others hold decomposed characters, which llama.cpp does not compose"
            )
        return Check(name, True, detail)
    first = wrong[0]
    return Check(
        name,
        False,
        f"{len(wrong)} of {len(expected)} probe texts give other tokens, the first one "
        f"{_short(reference.texts[first])}: {_difference(expected[first], found[first])}",
    )


def check_token_texts(reference: Reference, answer: dict[str, Any], stored: Stored) -> Check:
    """Every token has the text that it has in training."""
    name = "token texts"
    expected, found = reference.vocabulary, answer["texts"]
    if expected is None:
        return Check(name, True, "not compared")
    if len(found) < len(expected):
        detail = f"the file has {len(found)} tokens, the trained model {len(expected)}"
        return Check(name, False, detail)
    for token, text in enumerate(expected):
        user_defined = token < len(stored.types) and stored.types[token] == TokenType.USER_DEFINED
        # Tokens of this type are stored as they are typed, with real spaces.
        if found[token] != text and not (
            user_defined and found[token] == text.replace(_SPACE, " ")
        ):
            detail = (
                f"token {token} is {_short(found[token])} in the file, {_short(text)} in training"
            )
            return Check(name, False, detail)
    return Check(name, True, f"all {len(expected)} equal")


def check_template(
    reference: Reference, stored: Stored, prompts: list[str] | None, error: str
) -> Check:
    """The template in the file renders what training saw, and is the same template."""
    name = "chat template"
    if prompts is None:
        return Check(name, False, error)
    for messages, expected, found in zip(
        reference.conversations, reference.rendered, prompts, strict=True
    ):
        if found != expected:
            start = _first_difference(expected, found)
            begin = max(0, start - 10)
            detail = (
                f"another template than in training: a conversation of {len(messages)} messages "
                f"renders differently from character {start} on, {_short(found[begin:])} in the "
                f"file, {_short(expected[begin:])} in training"
            )
            return Check(name, False, detail)
    if stored.template != reference.chat_template:
        return Check(name, False, "another template than in training")
    return Check(name, True, f"renders all {len(prompts)} conversations as in training")


def check_prompt_ids(
    reference: Reference, prompts: list[str] | None, answer: dict[str, Any]
) -> Check:
    """Rendered prompts become the ids that training saw, BOS neither double nor missing."""
    name = "prompt ids"
    if prompts is None:
        return Check(name, False, "no prompt to tokenize, since the template does not render")
    for index, expected in enumerate(reference.rendered_ids):
        found = answer["prompt_ids"][index]
        if found != list(expected):
            detail = (
                f"{_short(prompts[index])} becomes other tokens: {_difference(expected, found)}"
            )
            return Check(name, False, detail)
        # Many clients tokenize a rendered prompt with the special tokens that the file asks for.
        usual = answer["usual_prompt_ids"][index]
        if usual != list(expected):
            detail = (
                "the file asks for special tokens beside those of its template (a double BOS): "
                f"{_difference(expected, usual)}"
            )
            return Check(name, False, detail)
    return Check(name, True, f"equal on all {len(prompts)} conversations, BOS included")


def check_ends(reference: Reference, answer: dict[str, Any]) -> Check:
    """llama.cpp stops at every token that ends an answer."""
    name = "end tokens"
    texts, ends = answer["texts"], set(answer["ends"])

    def named(token: int) -> str:
        return repr(texts[token]) if 0 <= token < len(texts) else str(token)

    missing = [token for token in reference.stop_ids if token not in ends]
    if missing:
        shown = ", ".join(named(token) for token in missing)
        return Check(name, False, f"llama.cpp does not stop at {shown}")
    if reference.eos:
        # Without the key llama.cpp assumes an id of its own, which may fit by accident.
        if "tokenizer.ggml.eos_token_id" not in answer["metadata"]:
            detail = f"the file does not say which token ends an answer ({reference.eos!r})"
            return Check(name, False, detail)
        if named(answer["eos"]) != repr(reference.eos):
            detail = f"the file ends answers with {named(answer['eos'])}, not {reference.eos!r}"
            return Check(name, False, detail)
    shown = ", ".join(named(token) for token in reference.stop_ids)
    return Check(name, True, f"generation ends at {shown}" if shown else "none needed")


def check_closeness(
    reference: Reference, answer: dict[str, Any], build: Build, folder: Path
) -> tuple[Check, Closeness]:
    """The predictions are as close as the types in the file allow; also the figures."""
    name = "closeness"
    width = reference.log_probs[0].shape[1]
    if width != len(answer["texts"]):
        detail = f"the file predicts {len(answer['texts'])} tokens, the trained model {width}"
        return Check(name, False, detail), UNKNOWN
    found = (
        np.load(folder / f"logits_{index}.npy", mmap_mode="r")
        for index in range(len(reference.sequences))
    )
    closeness = compare(zip(reference.log_probs, found, strict=True))
    limit = limit_of(build.type_weights, reference.precise)
    figures = {
        "positions": float(closeness.positions),
        "top1": closeness.top1,
        "top1_limit": limit.top1,
        "kld_mean": closeness.kld_mean,
        "kld_p999": closeness.kld_p999,
        "kld_limit": limit.kld,
    }
    if not closeness.finite:
        detail = "the file predicts values that are no numbers"
        return Check(name, False, detail, {}), UNKNOWN
    detail = (
        f"same top token {closeness.top1:.2%} (at least {limit.top1:.0%}), mean KLD "
        f"{closeness.kld_mean:.2g} (at most {limit.kld:.2g}), 99.9th percentile "
        f"{closeness.kld_p999:.2g}, over {closeness.positions} positions"
    )
    return Check(name, holds(closeness, limit), detail, figures), closeness


def _short(text: str, limit: int = 40) -> str:
    return repr(text if len(text) <= limit else text[:limit] + "…")


def _first_difference(expected: Sequence[Any], found: Sequence[Any]) -> int:
    pairs = enumerate(zip(expected, found, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(expected), len(found)))


def _difference(expected: Sequence[int], found: Sequence[int]) -> str:
    start = _first_difference(expected, found)
    return (
        f"from token {start} on {list(found[start : start + 4])} in the file, "
        f"{list(expected[start : start + 4])} in training"
    )
