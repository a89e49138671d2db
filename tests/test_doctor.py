"""The doctor says what is there, what is missing, and how to get it."""

import json
import sys

import pytest

from edgetune import device, hub
from edgetune.cli import main
from edgetune.device import Device, Finding
from edgetune.errors import EdgetuneError, RequestError

CPU = Device("cpu", "a processor", 8 * 2**30, "float32", "OpenBLAS 0.3.21", 2)


@pytest.fixture
def healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "describe", lambda: CPU)
    monkeypatch.setattr(device, "_matmul_gflops", lambda _: 100.0)
    monkeypatch.setattr(hub, "check_model", lambda _: None)


def by_name() -> dict[str, Finding]:
    return {finding.name: finding for finding in device.doctor()}


@pytest.mark.usefixtures("healthy")
def test_a_healthy_machine_is_usable(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["doctor", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["usable"] is True
    names = [finding["name"] for finding in document["findings"]]
    for name in ("python", "device", "memory", "matmul", "mlx", "mlx-lm", "llama-cpp-python"):
        assert name in names
    for name in ("gguf", "textual", "edgetune", "nano"):
        assert name in names


@pytest.mark.usefixtures("healthy")
def test_the_speed_is_given_with_its_meaning() -> None:
    detail = by_name()["matmul"].detail
    assert detail.startswith("100 GFLOP/s in float32: at best 50 tokens per second")


@pytest.mark.usefixtures("healthy")
def test_a_linux_cpu_without_openblas_is_told_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    slow = Device("cpu", "a processor", 8 * 2**30, "float32", None, 0)
    monkeypatch.setattr(device, "describe", lambda: slow)
    finding = by_name()["BLAS"]
    assert finding.state == "warning"
    assert "apt-get install libopenblas0-pthread" in finding.hint
    assert main.run(["doctor"]) == 0  # slow, but usable
    assert "libopenblas0-pthread" in capsys.readouterr().out


@pytest.mark.usefixtures("healthy")
def test_a_missing_backend_makes_it_unusable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> Device:
        raise EdgetuneError("MLX cannot be loaded: no libmlx.so.", "pip install 'edgetune[cpu]'")

    monkeypatch.setattr(device, "describe", fail)
    assert main.run(["doctor"]) == 1
    output = capsys.readouterr()
    assert "pip install 'edgetune[cpu]'" in " ".join(output.out.split())
    assert "cannot work here as it is: device" in output.err


@pytest.mark.usefixtures("healthy")
def test_a_damaged_llama_cpp_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llama_cpp", None)  # type: ignore[arg-type]
    finding = by_name()["llama-cpp-python"]
    assert finding.state == "missing"
    assert "compiler" in finding.hint


@pytest.mark.usefixtures("healthy")
def test_a_missing_package_is_named_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_PACKAGES", ("no-such-package",))
    assert by_name()["no-such-package"] == Finding(
        "no-such-package", "missing", "not installed", "pip install no-such-package"
    )


@pytest.mark.usefixtures("healthy")
def test_a_damaged_embedded_model_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(_: object) -> None:
        raise RequestError("model.safetensors is cut short.")

    monkeypatch.setattr(hub, "check_model", damaged)
    assert by_name()["nano"].state == "missing"


def test_this_machine_is_looked_at() -> None:
    findings = by_name()
    assert findings["device"].state == "ok"
    assert findings["llama-cpp-python"].state == "ok"
    assert "GFLOP/s" in findings["matmul"].detail
