"""Is this GGUF the model that it claims to be?

The trained model is handed in as plain data (``Reference``); llama.cpp is asked about the file in
a child process (``predict.py``), since a bad file can end the process that loads it. What does
not depend on rounding (token ids, token texts, the rendered prompt, the ends) must be equal; the
predictions must be as close as the build type allows (``closeness.py``).
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from gguf import TokenType

from edgetune.errors import EdgetuneError, RequestError, explain_os_error

from . import child
from .builds import Build, describe
from .closeness import Closeness, compare, limit_of

Render = Callable[[str, list[dict[str, str]], str, str], str]
"""(template, messages, bos, eos) -> the prompt, with the generation prompt added or not as in
``Reference.rendered``."""


@dataclass
class Reference:
    """What the trained model is. Token ids come from the tokenizer that training used, with the
    special tokens in the texts parsed and none added."""

    texts: list[str]
    text_ids: list[list[int]]
    conversations: list[list[dict[str, str]]]
    rendered: list[str]
    """Each conversation as the trained model's template renders it."""
    rendered_ids: list[list[int]]
    chat_template: str
    bos: str
    """The token's text; "" where the model has none."""
    eos: str
    stop_ids: list[int]
    """Every token that ends an answer."""
    sequences: list[np.ndarray]
    """Token ids, int32 (length,)."""
    positions: list[np.ndarray]
    """Per sequence: indices into it whose next-token prediction is compared."""
    log_probs: list[np.ndarray]
    """Per sequence: the trained model's log-probabilities there, (positions, vocabulary)."""
    vocabulary: list[str] | None = None
    """Token texts by id as the tokenizer stores them; None: not compared."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    passed: bool
    detail: str
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Verification:
    """The verdict on a file, with what it rests on. KLD in nats per position."""

    file: Path
    type: str
    checks: list[Check]
    top1: float
    kld_mean: float
    kld_p999: float
    bits_per_weight: float
    bytes: int = 0
    tensor_types: dict[str, int] = field(default_factory=dict)
    fallbacks: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> Literal["verified", "failed"]:
        return "failed" if self.reasons else "verified"

    @property
    def reasons(self) -> list[str]:
        """Why it failed; empty when it did not."""
        return [f"{check.name}: {check.detail}" for check in self.checks if not check.passed]

    def to_dict(self) -> dict[str, Any]:
        """The verification as plain JSON data; ``file`` is the name without its folder."""
        return {
            "file": self.file.name,
            "type": self.type,
            "verdict": self.verdict,
            "reasons": self.reasons,
            "bytes": self.bytes,
            "bits_per_weight": round(self.bits_per_weight, 3),
            "tensor_types": self.tensor_types,
            "fallbacks": self.fallbacks,
            # JSON has no infinity: a file that could not be measured has no figures.
            **{
                name: value if np.isfinite(value) else None
                for name, value in (
                    ("top1", self.top1),
                    ("kld_mean", self.kld_mean),
                    ("kld_p999", self.kld_p999),
                )
            },
            "checks": [asdict(check) for check in self.checks],
        }


def verify_file(
    gguf: Path,
    reference: Reference,
    render: Render,
    progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """Check the file ``gguf`` against the model described by ``reference``.

    ``render`` is the renderer that will build prompts from the template inside the file;
    ``progress`` is called with checks done and in all.

    A file that is damaged, aborts llama.cpp or behaves differently gets the verdict "failed".
    Raises RequestError for a missing file and EdgetuneError where the check itself cannot run.
    """
    if not gguf.is_file():
        raise RequestError(f"{gguf} is missing.", "Export the model first.")
    _check_reference(reference)
    tell = progress or (lambda done, total: None)
    tell(0, 4)
    try:
        build = describe(gguf)
        vocabulary = _stored_vocabulary(gguf)
    except RequestError as error:
        return _failed_to_load(gguf, None, error.message)
    tell(1, 4)
    template = vocabulary.template
    try:
        with tempfile.TemporaryDirectory(prefix="edgetune-verify-") as name:
            folder = Path(name)
            prompts, render_error = _render_all(template, reference, render)
            outcome = _ask(gguf, reference, prompts or [], folder)
            tell(2, 4)
            if outcome.answer is None:
                return _failed_to_load(gguf, build, outcome.failure)
            answer = outcome.answer
            checks = [Check("load", True, "llama.cpp loads and evaluates the file")]
            count = len(reference.texts)
            checks.append(_tokens(reference.texts, reference.text_ids, answer["ids"][:count]))
            if reference.vocabulary is not None:
                checks.append(_texts(reference.vocabulary, answer["texts"], vocabulary.types))
            checks.append(_template(reference, template, prompts, render_error))
            if prompts is not None:
                checks.append(_prompt_ids(reference, prompts, answer, count))
            checks.append(_ends(reference, answer))
            tell(3, 4)
            check, closeness = _closeness(reference, answer, build, folder)
            checks.append(check)
    except OSError as error:
        raise explain_os_error(error, "verifying the GGUF") from error
    tell(4, 4)
    return _verification(gguf, build, checks, closeness)


def _check_reference(reference: Reference) -> None:
    pairs = zip(reference.sequences, reference.positions, reference.log_probs, strict=True)
    for sequence, positions, log_probs in pairs:
        if len(positions) != len(log_probs) or np.max(positions, initial=-1) >= len(sequence):
            raise ValueError("positions, log_probs and sequences of the reference do not agree")
    if not any(len(positions) for positions in reference.positions):
        raise ValueError("the reference has no predictions to compare with")


@dataclass(frozen=True)
class _Stored:
    template: str | None
    types: list[int]


def _stored_vocabulary(path: Path) -> _Stored:
    """What the file itself says; read with gguf's reader, since llama.cpp shows the metadata of
    arrays only in parts."""
    import gguf as library

    try:
        reader = library.GGUFReader(path)
        template = reader.get_field(library.Keys.Tokenizer.CHAT_TEMPLATE)
        types = reader.get_field(library.Keys.Tokenizer.TOKEN_TYPE)
        return _Stored(
            template.contents() if template is not None else None,
            list(types.contents()) if types is not None else [],
        )
    except (ValueError, KeyError, IndexError) as error:
        raise RequestError(f"{path} is a damaged GGUF file ({error}).") from error


def _render_all(
    template: str | None, reference: Reference, render: Render
) -> tuple[list[str] | None, str]:
    """The conversations as the file's own template renders them, or None and why not."""
    if template is None:
        return None, "the file has no chat template"
    try:
        return [
            render(template, messages, reference.bos, reference.eos)
            for messages in reference.conversations
        ], ""
    except Exception as error:  # whatever a foreign template makes the renderer raise
        reason = error.message if isinstance(error, EdgetuneError) else str(error)
        return None, f"the file's chat template cannot be rendered: {reason}"


def _ask(
    path: Path, reference: Reference, prompts: list[str], folder: Path
) -> child.Outcome:
    for index, (sequence, positions) in enumerate(
        zip(reference.sequences, reference.positions, strict=True)
    ):
        np.save(folder / f"sequence_{index}.npy", np.asarray(sequence, dtype=np.int32))
        np.save(folder / f"positions_{index}.npy", np.asarray(positions, dtype=np.int32))
    request = {
        "gguf": str(path.resolve()),
        "sequences": len(reference.sequences),
        "texts": [*reference.texts, *prompts],
        "prompts": prompts,
    }
    return child.run("edgetune.quantize.predict", request, folder)


def _failed_to_load(path: Path, build: Build | None, why: str) -> Verification:
    nothing = Closeness(0, 0.0, float("inf"), float("inf"), False)
    return _verification(path, build, [Check("load", False, why)], nothing)


def _verification(
    path: Path, build: Build | None, checks: list[Check], closeness: Closeness
) -> Verification:
    return Verification(
        file=path,
        type=build.type if build else "unknown",
        checks=checks,
        top1=closeness.top1,
        kld_mean=closeness.kld_mean,
        kld_p999=closeness.kld_p999,
        bits_per_weight=build.bits_per_weight if build else 0.0,
        bytes=build.bytes if build else path.stat().st_size,
        tensor_types=build.tensor_types if build else {},
        fallbacks=build.fallbacks if build else [],
    )


# --- the checks ---------------------------------------------------------------------------------


def _tokens(texts: list[str], expected: list[list[int]], found: list[list[int]]) -> Check:
    wrong = [index for index, ids in enumerate(expected) if list(ids) != found[index]]
    figures = {"texts": float(len(texts)), "different": float(len(wrong))}
    if not wrong:
        return Check("token ids", True, f"equal on all {len(texts)} probe texts", figures)
    first = wrong[0]
    detail = (
        f"{len(wrong)} of {len(texts)} probe texts give other tokens, the first one "
        f"{_short(texts[first])}: {_difference(expected[first], found[first])}"
    )
    return Check("token ids", False, detail, figures)


def _texts(expected: list[str], found: list[str], types: list[int]) -> Check:
    name = "token texts"
    if len(found) < len(expected):
        detail = f"the file has {len(found)} tokens, the trained model {len(expected)}"
        return Check(name, False, detail)
    for token, text in enumerate(expected):
        stored = found[token]
        user_defined = token < len(types) and types[token] == TokenType.USER_DEFINED
        # Tokens of this type are stored as they are typed, with real spaces.
        if stored != text and not (user_defined and stored == text.replace("▁", " ")):
            detail = f"token {token} is {_short(stored)} in the file, {_short(text)} in training"
            return Check(name, False, detail)
    return Check(name, True, f"all {len(expected)} equal")


def _template(
    reference: Reference, template: str | None, prompts: list[str] | None, error: str
) -> Check:
    name = "chat template"
    if prompts is None:
        return Check(name, False, error)
    for messages, expected, found in zip(
        reference.conversations, reference.rendered, prompts, strict=True
    ):
        if found != expected:
            start = next(
                (i for i, (a, b) in enumerate(zip(expected, found, strict=False)) if a != b),
                min(len(expected), len(found)),
            )
            begin = max(0, start - 10)
            return Check(
                name,
                False,
                f"a conversation of {len(messages)} messages renders differently from character "
                f"{start} on: {_short(found[begin:])} in the file, {_short(expected[begin:])} in "
                "training",
            )
    if template != reference.chat_template:
        return Check(name, False, "the file holds another template than the one trained with")
    return Check(name, True, f"renders all {len(prompts)} conversations as in training")


def _prompt_ids(
    reference: Reference, prompts: list[str], answer: dict[str, Any], skip: int
) -> Check:
    name = "prompt ids"
    for index, expected in enumerate(reference.rendered_ids):
        found = answer["ids"][skip + index]
        if found != list(expected):
            detail = f"{_short(prompts[index])} becomes other tokens: {_difference(expected, found)}"
            return Check(name, False, detail)
        # Most clients tokenize a rendered prompt with the special tokens that the file asks for.
        usual = answer["ids_usual"][index]
        if usual != list(expected):
            detail = (
                "the file asks for special tokens beside those of its template (a double BOS): "
                f"{_difference(expected, usual)}"
            )
            return Check(name, False, detail)
    return Check(name, True, f"equal on all {len(prompts)} conversations, BOS included")


def _ends(reference: Reference, answer: dict[str, Any]) -> Check:
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


def _closeness(
    reference: Reference, answer: dict[str, Any], build: Build, folder: Path
) -> tuple[Check, Closeness]:
    name = "closeness"
    width = reference.log_probs[0].shape[1]
    nothing = Closeness(0, 0.0, float("inf"), float("inf"), False)
    if width != len(answer["texts"]):
        detail = f"the file predicts {len(answer['texts'])} tokens, the trained model {width}"
        return Check(name, False, detail), nothing
    found = (
        np.load(folder / f"logits_{index}.npy", mmap_mode="r")
        for index in range(len(reference.sequences))
    )
    closeness = compare(zip(reference.log_probs, found, strict=True))
    figures = {
        "positions": float(closeness.positions),
        "top1": closeness.top1,
        "kld_mean": closeness.kld_mean,
        "kld_p999": closeness.kld_p999,
    }
    measured = (
        f"same top token {closeness.top1:.2%}, mean KLD {closeness.kld_mean:.2g}, "
        f"99.9th percentile {closeness.kld_p999:.2g} over {closeness.positions} positions"
    )
    if not closeness.finite:
        return Check(name, False, "the file predicts values that are no numbers", figures), closeness
    limit = limit_of(build.type)
    if limit is None:
        # A type that edgetune does not make: held to the loosest limit there is.
        limit = limit_of("Q2_K")
        assert limit is not None
    figures |= {"top1_limit": limit.top1, "kld_limit": limit.kld}
    passed = closeness.top1 >= limit.top1 and closeness.kld_mean <= limit.kld
    bound = f"{build.type} allows {limit.top1:.0%} and {limit.kld:g}"
    return Check(name, passed, f"{measured} ({bound})", figures), closeness


def _short(text: str, limit: int = 40) -> str:
    return repr(text if len(text) <= limit else text[:limit] + "…")


def _difference(expected: Sequence[int], found: Sequence[int]) -> str:
    start = next(
        (i for i, (a, b) in enumerate(zip(expected, found, strict=False)) if a != b),
        min(len(expected), len(found)),
    )
    return (
        f"from token {start} on {list(found[start : start + 4])} in the file, "
        f"{list(expected[start : start + 4])} in training"
    )
