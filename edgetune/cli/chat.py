"""``edgetune chat``: talk with a GGUF or with a run's newest export."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def command(
    target: Annotated[
        str, typer.Argument(help="A GGUF file, or a run, whose newest export is taken.")
    ],
    prompt: Annotated[
        str | None,
        typer.Option("--prompt", "-p", help="Answer this prompt on standard output and exit."),
    ] = None,
    system: Annotated[str, typer.Option(help="System message.")] = "",
    temperature: Annotated[
        float, typer.Option(min=0, help="Randomness; 0: always the most likely token.")
    ] = 0.7,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest answer, in tokens.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same answers again.")
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens of conversation (the model's own, at most 8192)."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Processor threads (as many as help).")
    ] = None,
    runs_dir: Annotated[
        Path | None, typer.Option(help="The folder that holds the runs (./runs).")
    ] = None,
) -> None:
    """Chat with a GGUF or a run. With -p or a pipe: one prompt, one answer, exit."""
    from edgetune import paths
    from edgetune.serve import repl
    from edgetune.serve.engine import Engine, Sampling, find_gguf

    sampling = Sampling(temperature=temperature, max_tokens=max_tokens, seed=seed)
    file = find_gguf(target, paths.runs_dir(runs_dir))
    asked = _prompt(prompt)
    with Engine(file, context, threads=threads) as engine:
        if engine.note:
            typer.echo(engine.note, err=True)
        if asked is None:
            repl.chat(engine, sampling, system)
        else:
            repl.answer_once(engine, asked, sampling, system)


def _prompt(prompt: str | None) -> str | None:
    """-p and what is piped in, or None if there is a person at the keyboard."""
    from edgetune.errors import RequestError

    terminal = sys.stdin is not None and sys.stdin.isatty()
    if terminal and prompt is None:
        return None
    parts = [] if prompt is None else [prompt]
    if sys.stdin is not None and not terminal:
        try:
            piped = sys.stdin.buffer.read().decode("utf-8").removesuffix("\n")
        except UnicodeDecodeError as error:
            raise RequestError(
                f"Standard input is not UTF-8 text: byte {error.start} is not valid.",
                "Pipe text in.",
            ) from None
        if piped:
            parts.append(piped)
    text = "\n".join(parts)
    if not text.strip():
        raise RequestError("The prompt is empty.", "Give one with -p or through a pipe.")
    return text
