"""`make` says in one sentence what it lacks, chooses the backend, and does nothing twice."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ("make", "sh", "cat", "getconf", "rm", "sed", "touch", "mkdir", "chmod", "cp")

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="there is no make here")

PYTHON = """#!/bin/sh
# A Python of version {version}: it answers the questions that the Makefile asks.
case "$*" in
  --version) echo "Python {version}" ;;
  *version_info*) exit {misfit} ;;
  *ensurepip,\\ venv*) exit {no_venv} ;;
  *platform.machine*) exit 0 ;;
  *find_spec*) test -e .venv/llama_cpp ;;
  "-m venv "*)
    mkdir -p .venv/bin && cp "$FAKE_PYTHON" .venv/bin/python ;;
  "-m pip --version") ;;
  "-m pip install"*)
    echo "$*" >> pip.log
    test -z "$PIP_FAILS" || exit 1
    touch .venv/llama_cpp
    printf '#!/bin/sh\\necho ran "$@"\\n' > .venv/bin/edgetune && chmod +x .venv/bin/edgetune ;;
  *) echo "unexpected: $*" >&2; exit 9 ;;
esac
"""


class Machine:
    """A copy of the Makefile in a folder, with only chosen tools on the PATH."""

    def __init__(self, folder: Path, system: str = "Linux") -> None:
        self.folder = folder / "work"
        self.bin = folder / "bin"
        self.folder.mkdir()
        self.bin.mkdir()
        shutil.copy(ROOT / "Makefile", self.folder)
        (self.folder / "pyproject.toml").write_text("")
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool) or tool)
        self.tool("uname", f"echo {system}")
        self.environment = {"PATH": str(self.bin), "FAKE_PYTHON": str(self.bin / "python3")}

    def tool(self, name: str, script: str) -> None:
        file = self.bin / name
        file.write_text(script if script.startswith("#!") else f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def python(self, version: str, fits: bool = True, venv: bool = True) -> None:
        self.tool(
            "python3",
            PYTHON.replace("{version}", version)
            .replace("{misfit}", "0" if fits else "1")
            .replace("{no_venv}", "0" if venv else "1"),
        )

    def compiler(self) -> None:
        self.tool("cc", "")
        self.tool("c++", "")

    def make(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", *arguments],
            cwd=self.folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def installed(self) -> list[str]:
        """The extras of each installation so far, such as ``.[cpu]``."""
        log = self.folder / "pip.log"
        return [line.split()[-1] for line in log.read_text().splitlines()] if log.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.python("3.12.1")
    machine.compiler()
    return machine


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of ours on stderr, beside make's own."""
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert line.startswith("edgetune: ")
    return line


def test_a_fresh_machine_is_installed_and_a_second_time_is_silent(machine: Machine) -> None:
    first = machine.make()
    assert first.returncode == 0, first.stderr
    assert "takes about five minutes" in first.stdout
    assert "ran doctor" in first.stdout
    second = machine.make()
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert machine.installed() == [".[cpu]"]


def test_an_interrupted_installation_is_taken_up_again(machine: Machine) -> None:
    assert machine.make(PIP_FAILS="1").returncode != 0
    assert machine.make().returncode == 0
    assert (machine.folder / ".venv" / "installed").exists()


def test_a_changed_pyproject_is_installed_again(machine: Machine) -> None:
    machine.make()
    later = (machine.folder / ".venv" / "installed").stat().st_mtime + 5
    os.utime(machine.folder / "pyproject.toml", (later, later))
    assert "takes about five minutes" not in machine.make().stdout
    assert machine.installed() == [".[cpu]", ".[cpu]"]


@pytest.mark.parametrize(
    ("line", "extra"),
    [
        ("| NVIDIA-SMI 580.65   Driver Version: 580.65   CUDA Version: 13.0 |", "cuda13"),
        ("| NVIDIA-SMI 550.54   Driver Version: 550.54   CUDA Version: 12.4 |", "cuda12"),
        ("| NVIDIA-SMI 470.82   Driver Version: 470.82   CUDA Version: 11.4 |", "cpu"),
    ],
)
def test_the_backend_follows_the_driver(machine: Machine, line: str, extra: str) -> None:
    machine.tool("nvidia-smi", f"echo '{line}'")
    assert machine.make().returncode == 0
    assert machine.installed() == [f".[{extra}]"]


def test_a_chosen_backend_is_kept(machine: Machine) -> None:
    machine.make("EXTRA=cuda12")
    machine.make()
    assert machine.installed() == [".[cuda12]"]
    machine.make("EXTRA=cpu")
    assert machine.installed() == [".[cuda12]", ".[cpu]"]


def test_a_mac_needs_no_extra(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "Darwin")
    machine.python("3.13.0")
    machine.compiler()
    assert machine.make().returncode == 0
    assert machine.installed() == ["."]


def test_an_unsupported_python_is_one_sentence(machine: Machine) -> None:
    machine.python("3.9.6", fits=False)
    text = sentence(machine.make())
    assert "Python 3.11 to 3.14 is needed, but here is Python 3.9.6" in text


def test_no_python_is_one_sentence(machine: Machine) -> None:
    (machine.bin / "python3").unlink()
    assert "but here is no Python" in sentence(machine.make())


def test_a_python_without_venv_is_one_sentence(machine: Machine) -> None:
    machine.python("3.11.2", venv=False)
    assert "sudo apt-get install python3-venv" in sentence(machine.make())


def test_a_missing_compiler_is_one_sentence(machine: Machine) -> None:
    (machine.bin / "c++").unlink()
    text = sentence(machine.make())
    assert "there is no c++: install a C and C++ compiler" in text
    assert machine.installed() == []


def test_uv_is_used_where_it_is_installed(machine: Machine) -> None:
    machine.tool(
        "uv",
        'echo "$*" >> uv.log\n'
        'if test "$1" = venv; then mkdir -p .venv/bin && cp "$FAKE_PYTHON" .venv/bin/python\n'
        "else printf '#!/bin/sh\\n' > .venv/bin/edgetune && chmod +x .venv/bin/edgetune; fi",
    )
    assert machine.make().returncode == 0
    venv, install = (machine.folder / "uv.log").read_text().splitlines()
    assert venv == "venv --quiet --python >=3.11,<3.15 .venv"
    assert install.endswith("--editable .[cpu]")
    assert machine.installed() == []


def test_clean_keeps_the_runs(machine: Machine) -> None:
    for name in (".venv", "build", "runs", "edgetune", "tui", "quantize", "tests", "examples"):
        (machine.folder / name).mkdir()
    machine.tool("find", "")
    assert machine.make("clean").returncode == 0
    assert not (machine.folder / ".venv").exists()
    assert (machine.folder / "runs").exists()
