"""A trained run becomes GGUF builds, each proven to be the model that was trained.

The adapter is fused in float32, converted once, and every build is made from that. What the
trained model does is measured in MLX with the adapter beside the base, as it was trained, so a
fault in fusing shows as surely as one in converting. A build that does not hold keeps its bytes
but not its name: nothing picks it up by mistake.
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from edgetune import events, paths, runs
from edgetune.config import SourceConfig
from edgetune.data.conversation import Conversation
from edgetune.data.reading import load as load_conversations
from edgetune.data.reading import read
from edgetune.data.templates.builtin import choose_template
from edgetune.data.templates.rendering import ChatTemplate
from edgetune.errors import EdgetuneError, RequestError
from edgetune.evaluate import adapter_of, template_of
from edgetune.quantize.builds import FULL_PRECISION, TYPES, build
from edgetune.quantize.convert import FileType, convert
from edgetune.quantize.reference import Reference, Verification
from edgetune.quantize.report import report_markdown
from edgetune.quantize.verify import verify_file

Say = Callable[[events.Event], None]

DEFAULT_TYPES = ("Q8_0", "Q4_K_M")
_SAMPLE = 1500
# Validation rows that are read: a reference takes no more predictions than that.


@dataclass(frozen=True)
class ExportResult:
    """The builds of one export."""

    run: runs.Run
    verifications: list[Verification]
    report: dict[str, Any]
    """What ``export/report.json`` holds."""

    @property
    def verified(self) -> bool:
        return all(item.verdict == "verified" for item in self.verifications)


def export(
    run: str | Path,
    quants: Sequence[str] = DEFAULT_TYPES,
    *,
    runs_dir: str | Path | None = None,
    on_event: Say | None = None,
) -> ExportResult:
    """Build a GGUF of each type in ``quants`` from a finished run and verify each.

    Writes ``export/NAME-TYPE.gguf``, ``report.json``, ``report.md`` and a ``Modelfile``. A build
    that fails verification is kept as ``NAME-TYPE.gguf.failed`` and the result says so; the
    caller decides what that means. Raises RequestError for a run without an adapter or an unknown
    type, before anything is written.
    """
    types = check_types(quants)
    opened = runs.open_run(str(run), paths.runs_dir(runs_dir))
    adapter = adapter_of(opened)
    config = opened.config()

    from edgetune.models import attach_adapter, load, save_fused
    from edgetune.reference import make_reference

    say = on_event or (lambda event: None)
    loaded = load(config.model, exact=True)
    template = template_of(opened, loaded.tokenizer)
    attach_adapter(loaded, adapter)
    for note in loaded.notes:
        say(events.Note(message=note))
    with opened.working():
        opened.export.mkdir(exist_ok=True)
        paths.remove_leftovers(opened.export)
        reference = make_reference(
            loaded,
            template,
            validation_sample(opened, _SAMPLE),
            stage(say, "measuring the trained model"),
        )
        done: list[Verification] = []
        # Beside the exports, so that a full disk is met here and not in a shared /tmp.
        with tempfile.TemporaryDirectory(dir=opened.export, prefix=".fused.", suffix=".tmp") as t:
            folder = Path(t)
            save_fused(loaded, folder, template.source)
            del loaded
            name = f"{opened.name} ({Path(config.model).name} tuned)"
            source = folder / "source.gguf"

            def write_gguf(output: Path, file_type: FileType, label: str) -> None:
                convert(
                    folder,
                    output,
                    file_type,
                    chat_template=template.source,
                    name=name,
                    progress=stage(say, label),
                )

            for kind in types:
                output = folder / f"{opened.name}-{kind}.gguf"
                label = f"building {kind}"
                if kind in FULL_PRECISION:
                    write_gguf(output, FULL_PRECISION[kind], label)
                    built_from = None
                else:
                    if not source.exists():
                        write_gguf(source, "f32", "converting to GGUF")
                        _check_conversion(source, reference, say)
                    stage(say, label)(0, 1)
                    build(source, output, kind)
                    stage(say, label)(1, 1)
                    built_from = source
                verification = verify_file(
                    output,
                    reference,
                    _renderer,
                    stage(say, f"verifying {kind}"),
                    source=built_from,
                )
                # Only a file that was verified ever has the final name.
                final = opened.export / output.name
                if verification.verdict != "verified":
                    final = final.with_name(final.name + ".failed")
                    say(events.Note(message=f"{kind} failed verification; kept as {final.name}"))
                output.replace(final)
                paths.sync_directory(opened.export)
                done.append(replace(verification, file=final))
        report = _write_report(opened, config.model, done)
        _write_modelfile(opened, done, template)
    return ExportResult(opened, done, report)


def verify(
    gguf: str | Path,
    against: str | Path,
    *,
    data: Sequence[str | Path] = (),
    runs_dir: str | Path | None = None,
    on_event: Say | None = None,
) -> Verification:
    """Is this GGUF the run's tuned model, or this base model?

    Predictions are compared on the answers in ``data``, else on the run's validation answers,
    else on a few built-in ones. Raises RequestError for files that are not there.
    """
    file = Path(gguf)
    if not file.is_file():
        raise RequestError(f"There is no file {file}.")
    folder = paths.runs_dir(runs_dir)
    run = runs.find_run(str(against), folder)
    from edgetune.models import attach_adapter, load
    from edgetune.reference import make_reference

    say = on_event or (lambda event: None)
    if run is None:
        loaded = load(str(against), exact=True)
        template = choose_template(loaded.tokenizer)
    else:
        adapter = adapter_of(run)
        loaded = load(run.config().model, exact=True)
        template = template_of(run, loaded.tokenizer)
        attach_adapter(loaded, adapter)
    for note in loaded.notes:
        say(events.Note(message=note))
    conversations: list[Conversation] = []
    if data:
        conversations = load_conversations(data).conversations
    elif run is not None:
        conversations = validation_sample(run, _SAMPLE)
    reference = make_reference(
        loaded, template, conversations, stage(say, "measuring the trained model")
    )
    return verify_file(file, reference, _renderer, stage(say, f"verifying {file.name}"))


def _check_conversion(source: Path, reference: Reference, say: Say) -> None:
    """What every quantized build is made from has to be exact: at four bits a small fault could
    hide behind the rounding."""
    checked = verify_file(source, reference, _renderer, stage(say, "verifying the conversion"))
    if checked.verdict != "verified":
        raise EdgetuneError(
            f"The converted model is not the trained one ({'; '.join(checked.reasons)}), so no "
            "quantized file was made from it.",
            "Please report this with the name of the base model.",
        )


def check_types(quants: Sequence[str]) -> list[str]:
    """The asked types in their usual spelling, each once. Raises RequestError for an unknown
    one."""
    known = [*FULL_PRECISION, *TYPES]
    chosen: dict[str, None] = {}
    for quant in quants:
        kind = quant.upper()
        if kind not in known:
            raise RequestError(
                f"There is no GGUF type `{quant}`.", f"The types are: {', '.join(known)}."
            )
        chosen[kind] = None
    if not chosen:
        raise RequestError("No GGUF type is named.", "Example: --quant Q8_0")
    return list(chosen)


def validation_sample(run: runs.Run, most: int | None = None) -> list[Conversation]:
    """The validation conversations that the run kept, the first ``most`` of them; empty if it had
    none."""
    file = run.validation_sample
    if not file.is_file():
        return []
    items = read(SourceConfig(path=str(file)))
    return list(islice((item for item in items if isinstance(item, Conversation)), most))


def stage(say: Say, name: str) -> Callable[[int, int], None]:
    """A (done, total) callback that reports progress of the stage ``name``."""

    def report(done: int, total: int) -> None:
        say(events.Progress(stage=name, done=done, total=total))

    return report


def _renderer(template: str, messages: list[dict[str, str]], bos: str, eos: str) -> str:
    return ChatTemplate(template, bos=bos, eos=eos, name="gguf").render(
        messages, add_generation_prompt=True
    )


def _write_report(run: runs.Run, model: str, done: list[Verification]) -> dict[str, Any]:
    """Write report.json and report.md; builds of earlier exports that are still there stay in."""
    file = run.export / "report.json"
    try:
        before = json.loads(file.read_text(encoding="utf-8"))["exports"]
    except (OSError, ValueError, KeyError, TypeError):
        before = []
    new = [item.to_dict() for item in done]
    names = {item["file"] for item in new}
    kept = [
        item
        for item in before
        if item["file"] not in names and (run.export / item["file"]).is_file()
    ]
    report = {"run": run.name, "model": model, "exports": [*kept, *new]}
    paths.write_text(file, json.dumps(report, indent=1, ensure_ascii=False))
    paths.write_text(run.export / "report.md", report_markdown(report))
    return report


def _write_modelfile(run: runs.Run, done: list[Verification], template: ChatTemplate) -> None:
    """An Ollama Modelfile for the smallest verified build. The prompt format is not repeated
    there: Ollama reads the template from the GGUF."""
    good = [item for item in done if item.verdict == "verified"]
    if not good:
        return
    smallest = min(good, key=lambda item: item.bytes)
    lines = [f"FROM ./{Path(smallest.file).name}"]
    if template.eos:
        lines.append(f'PARAMETER stop "{template.eos}"')
    paths.write_text(run.export / "Modelfile", "\n".join(lines) + "\n")
