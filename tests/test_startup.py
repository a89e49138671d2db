"""The program starts at once, loads only what it needs, and ends as it should."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgetune.cli import main
from edgetune.errors import EdgetuneError, Interrupted, RequestError

HEAVY = {"mlx", "mlx_lm", "llama_cpp", "textual", "transformers", "torch", "huggingface_hub"}


def edgetune(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgetune", *arguments]
    given = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL} | options
    return subprocess.run(command, **given)  # type: ignore[call-overload,no-any-return]


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def test_help_answers_in_under_300_milliseconds() -> None:
    # Processor time: it waits for nothing, and what else the machine does is not its fault.
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert edgetune("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.3


def test_help_loads_no_heavy_library_and_no_command() -> None:
    code = """if True:
        import sys
        from edgetune.cli.main import run
        run(["--help"])
        print("LOADED", *[name for name in sys.modules if name.startswith("edgetune")])
        print("TOPS", *{name.split(".")[0] for name in sys.modules})
    """
    lines = python(code).splitlines()
    tops = set(lines[-1].split()[1:])
    assert not tops & (HEAVY | {"rich", "jinja2", "numpy", "yaml"})
    assert set(lines[-2].split()[1:]) == {
        "edgetune",
        "edgetune.cli",
        "edgetune.cli.main",
        "edgetune.errors",
    }


def test_help_names_every_command() -> None:
    text = edgetune("--help").stdout
    for name in main.COMMANDS:
        assert f"\n  {name} " in text


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([name, "--help"]) == 0
    output = capsys.readouterr()
    assert output.out.startswith(f"Usage: edgetune {name}")
    assert not output.err


def test_importing_a_command_loads_no_heavy_library() -> None:
    code = f"""if True:
        import importlib, sys
        for name in {list(main.COMMANDS)}:
            importlib.import_module(f"edgetune.cli.{{name}}")
        print(*{{name.split(".")[0] for name in sys.modules}})
    """
    assert not set(python(code).split()) & HEAVY


def test_import_edgetune_loads_no_heavy_library() -> None:
    code = "import edgetune, sys; print(*{name.split('.')[0] for name in sys.modules})"
    assert not set(python(code).split()) & HEAVY


def test_version_is_printed() -> None:
    from edgetune import __version__

    assert edgetune("--version").stdout == f"edgetune {__version__}\n"


def test_without_a_terminal_and_without_a_command_help_is_shown() -> None:
    done = edgetune()
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: edgetune")


def test_in_a_terminal_the_interface_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    fake = SimpleNamespace(command=lambda: opened.append(True))
    monkeypatch.setitem(sys.modules, "edgetune.cli.tui", fake)  # type: ignore[arg-type]
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(
        sys, "stdout", SimpleNamespace(isatty=lambda: True, flush=lambda: None, write=len)
    )
    assert main.run([]) == 0
    assert opened == [True]


def fails_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Make the command ``doctor`` end in ``error``."""

    def command() -> None:
        raise error

    monkeypatch.setitem(
        sys.modules,
        "edgetune.cli.doctor",
        SimpleNamespace(command=command),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (EdgetuneError("It broke.", "Mend it."), 1, "edgetune: It broke. Mend it."),
        (RequestError("Not so.", "But so."), 2, "edgetune: Not so. But so."),
        (Interrupted("Stopped."), 130, "edgetune: Stopped."),
        (KeyboardInterrupt(), 130, "edgetune: Interrupted."),
        (PermissionError(13, "Permission denied", "/x"), 1, "edgetune: No permission"),
        (OSError(28, "No space left on device"), 1, "edgetune: The disk is full"),
        (ZeroDivisionError("by\nzero"), 1, "edgetune: Something unforeseen"),
    ],
)
def test_an_error_is_one_paragraph_and_an_exit_status(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    text: str,
) -> None:
    fails_with(monkeypatch, error)
    assert main.run(["doctor"]) == status
    output = capsys.readouterr()
    assert output.err.startswith(text)
    assert output.err.count("\n") == 1
    assert not output.out


@pytest.mark.parametrize("arguments", [["--debug", "doctor"], ["doctor", "--debug"]])
def test_debug_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    fails_with(monkeypatch, EdgetuneError("It broke."))
    assert main.run(arguments) == 1
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert error.endswith("edgetune: It broke.\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], "Did you mean 'train'?"),
        (["--nonsense"], "No such option: --nonsense"),
        (["doctor", "--nonsense"], "Try `edgetune doctor --help`."),
        (["runs"], "Missing command"),
        (["runs", "show"], "Missing argument"),
    ],
)
def test_a_wrong_request_exits_with_2_and_says_how_to_ask(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert main.run(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("edgetune: ")
    assert words in error
    assert error.count("\n") == 1


def test_a_reader_that_leaves_ends_the_program_quietly() -> None:
    read, write = os.pipe()
    os.close(read)
    done = edgetune("--help", capture_output=False, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert done.stderr == ""
    assert done.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_that_cannot_be_written_is_an_error() -> None:
    with Path("/dev/full").open("w") as full:
        done = edgetune("--help", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr.startswith("edgetune: The disk is full")


def test_results_go_to_stdout_as_one_json_document(tmp_path: Path) -> None:
    done = edgetune("runs", "list", "--json", "--runs-dir", str(tmp_path))
    assert done.returncode == 0
    assert json.loads(done.stdout) == []
