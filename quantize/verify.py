"""Is this GGUF the model that it claims to be?

The trained model is handed in as plain data (``Reference``); llama.cpp is asked about the file in
a child process (``predict.py``), since a bad file can end the process that loads it. What does
not depend on rounding (token ids, token texts, the rendered prompt, the ends) must be equal; the
predictions must be as close as the types in the file allow (``closeness.py``).
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np

from edgetune.errors import EdgetuneError, RequestError, explain_os_error

from . import child
from .builds import Build, describe
from .checks import (
    Stored,
    check_closeness,
    check_ends,
    check_prompt_ids,
    check_template,
    check_token_ids,
    check_token_texts,
)
from .closeness import UNKNOWN, Closeness
from .diagnose import diagnose
from .reference import Check, Reference, Render, Verification
from .report import report_markdown
from .structure import compare_with_source

__all__ = ["Check", "Reference", "Render", "Verification", "report_markdown", "verify_file"]

_STEPS = 4


def verify_file(
    file: Path,
    reference: Reference,
    render: Render,
    progress: Callable[[int, int], None] | None = None,
    *,
    source: Path | None = None,
) -> Verification:
    """Check the GGUF ``file`` against the model described by ``reference``.

    ``render`` is the renderer that will build prompts from the template inside the file;
    ``progress`` is called with steps done and in all. With ``source``, the full-precision GGUF
    that ``file`` was built from, the weights are compared as well.

    A file that is damaged, aborts llama.cpp or behaves differently gets the verdict "failed".
    Raises RequestError for a missing file and EdgetuneError where the check itself cannot run.
    """
    if not file.is_file():
        raise RequestError(f"{file} is missing.", "Export the model first.")
    _check_reference(reference)
    tell = progress or (lambda done, total: None)
    tell(0, _STEPS)
    try:
        build = describe(file)
        stored = _stored(file)
    except RequestError as error:
        return _failed_to_load(file, None, error.message)
    tell(1, _STEPS)
    try:
        with tempfile.TemporaryDirectory(prefix="edgetune-verify-") as name:
            folder = Path(name)
            prompts, render_error = _render_all(stored.template, reference, render)
            outcome = ask(file, reference, folder, prompts or [])
            tell(2, _STEPS)
            if outcome.answer is None:
                return _failed_to_load(file, build, outcome.failure)
            answer = outcome.answer
            checks = [
                Check("load", True, "llama.cpp loads and evaluates the file"),
                check_token_ids(reference, answer),
                check_token_texts(reference, answer, stored),
                check_template(reference, stored, prompts, render_error),
                check_prompt_ids(reference, prompts, answer),
                check_ends(reference, answer),
            ]
            tell(3, _STEPS)
            closest, closeness = check_closeness(reference, answer, build, folder)
            checks.append(diagnose(closest, file, reference, build, ask))
            if source is not None:
                checks.append(compare_with_source(file, source))
    except OSError as error:
        raise explain_os_error(error, "verifying the GGUF") from error
    tell(_STEPS, _STEPS)
    return _verification(file, build, checks, closeness)


def ask(file: Path, reference: Reference, folder: Path, prompts: list[str]) -> child.Outcome:
    """Let llama.cpp tokenize the reference's texts and ``prompts`` and evaluate its sequences;
    the logits are left in ``folder``."""
    for index, (sequence, positions) in enumerate(
        zip(reference.sequences, reference.positions, strict=True)
    ):
        np.save(folder / f"sequence_{index}.npy", np.asarray(sequence, dtype=np.int32))
        np.save(folder / f"positions_{index}.npy", np.asarray(positions, dtype=np.int32))
    request = {
        "gguf": str(file.resolve()),
        "sequences": len(reference.sequences),
        "texts": reference.texts,
        "prompts": prompts,
    }
    return child.run("edgetune.quantize.predict", request, folder)


def _check_reference(reference: Reference) -> None:
    triples = zip(reference.sequences, reference.positions, reference.log_probs, strict=True)
    for sequence, positions, log_probs in triples:
        if len(positions) != len(log_probs) or np.max(positions, initial=-1) >= len(sequence):
            raise ValueError("positions, log_probs and sequences of the reference do not agree")
    if not any(len(positions) for positions in reference.positions):
        raise ValueError("the reference has no predictions to compare with")


def _stored(path: Path) -> Stored:
    """What the file itself says, read with gguf's reader: llama.cpp shows arrays in parts."""
    try:
        reader = gguf.GGUFReader(path)
        template = reader.get_field(gguf.Keys.Tokenizer.CHAT_TEMPLATE)
        types = reader.get_field(gguf.Keys.Tokenizer.TOKEN_TYPE)
        return Stored(
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


def _failed_to_load(path: Path, build: Build | None, why: str) -> Verification:
    return _verification(path, build, [Check("load", False, why)], UNKNOWN)


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
