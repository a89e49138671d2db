"""Metal, CUDA or CPU: what the machine is, what it can hold, and how fast it multiplies.

MLX's wheel for Linux CPUs carries the reference BLAS, which is 10 to 30 times slower than
OpenBLAS. Symbols that are already in the process win over a library's own, so ``prepare`` loads a
system OpenBLAS globally before MLX is first imported; without one everything works, slowly.
Every module that imports MLX calls ``prepare`` before.
"""

import ctypes
import ctypes.util
import importlib
import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Literal

from edgetune import paths
from edgetune.errors import EdgetuneError

OPENBLAS_HINT = (
    "Install OpenBLAS: `sudo apt-get install libopenblas0-pthread` (Debian, Ubuntu), "
    "`sudo dnf install openblas-threads` (Fedora) or `sudo pacman -S openblas` (Arch)."
)
_CGROUP = Path("/sys/fs/cgroup")
_SMALL_MODEL = 10_000_000
# Fedora's plain libopenblas is the single-threaded build; its threaded one ends in p.
_SONAMES = ("libopenblasp.so.0", "libopenblas.so.0", "libopenblaso.so.0")
_FOLDERS = ("/opt/OpenBLAS/lib", "/usr/local/lib", "/home/linuxbrew/.linuxbrew/opt/openblas/lib")


@cache
def has_amx() -> bool:
    """Whether the processor names Intel's matrix extension (AMX); it may still not be usable."""
    try:
        return "amx_tile" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False


@dataclass(frozen=True)
class Device:
    """Where the training runs."""

    kind: Literal["metal", "cuda", "cpu"]
    name: str
    """The processor's or graphics card's name."""
    memory_limit_bytes: int
    """What the device can use at most: Metal's recommended working set, the card's memory, or
    the machine's (or the container's) main memory."""
    dtype: Literal["float32", "bfloat16"]
    """What training computes in: bfloat16 is slow on CPUs, where float32 alone uses the BLAS."""
    blas: str | None
    """The BLAS that multiplies on a Linux CPU; None: MLX's own (slow there, fast on macOS)."""
    blas_threads: int
    """Threads of that BLAS; another number changes the last bits of a result. 0 without one."""

    def __str__(self) -> str:
        kind = {"metal": "Metal", "cuda": "CUDA", "cpu": "CPU"}[self.kind]
        return f"{kind}, {self.name}"


@dataclass(frozen=True)
class Finding:
    """One thing that the doctor looked at."""

    name: str
    state: Literal["ok", "warning", "missing"]
    """warning: it works, but less well than it could; missing: edgetune cannot work so."""
    detail: str
    hint: str = ""
    """What to do about it."""


@dataclass(frozen=True)
class _Blas:
    name: str
    library: ctypes.CDLL

    @property
    def threads(self) -> int:
        return int(self.library.openblas_get_num_threads())


def prepare() -> None:
    """Make MLX fast on a Linux CPU. To be called before MLX is first imported.

    Does nothing on other systems or when called again, and never fails.
    """
    _openblas()


@cache
def _openblas() -> _Blas | None:
    if sys.platform != "linux" or "mlx.core" in sys.modules:
        return None  # macOS has Accelerate; and once MLX is bound to its own BLAS it stays so
    for name in _candidates():
        try:
            library = ctypes.CDLL(name)
            # A build with other symbol names (64-bit indices, no CBLAS) would be of no use.
            getattr(library, "cblas_sgemm")  # noqa: B009
            library.openblas_get_config.restype = ctypes.c_char_p
            config = library.openblas_get_config().decode("ascii", "replace").split()
            ctypes.CDLL(name, ctypes.RTLD_GLOBAL)
        except (OSError, AttributeError):
            continue
        blas = _Blas(" ".join(config[:2]), library)
        _respect_quota(blas)
        return blas
    return None


def suit_threads(parameters: int) -> None:
    """Let the BLAS use one thread for a model of few ``parameters``, unless the user set a number.

    Its threads wait for each other by spinning. Below about ten million parameters a matrix
    product takes a millisecond or two, and as soon as anything else runs, waiting costs more than
    sharing saves. Measured, a training step of 3.5 million parameters on two cores: 240 ms with
    one thread, idle or not; with two 180 ms on an idle machine and 360 to 560 ms beside other
    work.
    """
    blas = _openblas()
    if blas is None or {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"} & os.environ.keys():
        return
    if parameters < _SMALL_MODEL:
        blas.library.openblas_set_num_threads(1)


def _candidates() -> Iterator[str]:
    yield from _SONAMES
    for folder in (f"{sys.prefix}/lib", *_FOLDERS):
        yield f"{folder}/libopenblas.so.0"
    # Last, since it runs ldconfig or a compiler.
    found = ctypes.util.find_library("openblas")
    if found:
        yield found


def _respect_quota(blas: _Blas) -> None:
    """Use no more threads than the container may run at once: more only wait for each other."""
    quota = _cpu_quota()
    chosen = {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"} & os.environ.keys()
    if quota is not None and not chosen and blas.threads > quota:
        blas.library.openblas_set_num_threads(quota)


def _cpu_quota() -> int | None:
    try:
        quota, period = (_CGROUP / "cpu.max").read_text().split()
        return max(1, round(int(quota) / int(period)))
    except (OSError, ValueError):  # no cgroup v2, or the word "max"
        return None


def describe() -> Device:
    """The device that MLX uses here. Raises EdgetuneError if MLX cannot be imported."""
    prepare()
    try:
        import mlx.core as mx
    except ImportError as error:
        raise EdgetuneError(f"MLX cannot be loaded: {error}.", _mlx_hint()) from None

    info = mx.device_info()
    gpu = mx.default_device() == mx.gpu
    if gpu and mx.metal.is_available():
        limit = int(info.get("max_recommended_working_set_size") or mx.get_memory_limit())
        return Device("metal", str(info.get("device_name", "GPU")), limit, "bfloat16", None, 0)
    if gpu:
        limit = int(info.get("total_memory") or mx.get_memory_limit())
        return Device("cuda", str(info.get("device_name", "GPU")), limit, "bfloat16", None, 0)
    blas = _openblas()
    return Device(
        "cpu",
        str(info.get("device_name") or platform.processor() or platform.machine()),
        _main_memory(),
        "float32",
        blas.name if blas else None,
        blas.threads if blas else 0,
    )


def _mlx_hint() -> str:
    if sys.platform == "darwin":
        return "MLX needs Apple silicon and a native (arm64) Python."
    return (
        "On Linux edgetune needs one of its extras: `make` picks it, or by hand "
        "pip install '.[cpu]', '.[cuda12]' or '.[cuda13]'."
    )


def _main_memory() -> int:
    """Bytes of main memory that this process may use."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(total, int((_CGROUP / "memory.max").read_text()))
    except (OSError, ValueError):
        return total


def _matmul_gflops(device: Device) -> float:
    """Billions of floating point operations per second of a large matrix product, in the
    training dtype; the best of a few, after a warm-up."""
    import mlx.core as mx

    size = 1024 if device.kind == "cpu" else 4096
    dtype = mx.float32 if device.dtype == "float32" else mx.bfloat16
    left, right = (mx.random.normal((size, size)).astype(dtype) for _ in range(2))
    mx.eval(left, right, left @ right)
    best = float("inf")
    started = time.perf_counter()
    while best == float("inf") or time.perf_counter() - started < 0.3:
        begin = time.perf_counter()
        mx.eval(left @ right)
        best = min(best, time.perf_counter() - begin)
    return 2 * size**3 / best / 1e9


def doctor() -> list[Finding]:
    """Everything edgetune needs or gains from, looked at on this machine (about a second)."""
    python = f"{platform.python_version()} ({platform.system()} {platform.machine()})"
    findings = [Finding("python", "ok", python)]
    try:
        device = describe()
    except EdgetuneError as error:
        findings.append(Finding("device", "missing", error.message, error.hint))
    else:
        findings += _about(device)
    findings += [_package(name) for name in _PACKAGES]
    findings.append(_llama_cpp())
    findings.append(_embedded_model())
    return findings


# llama-cpp-python is looked at by loading it; these by their version.
_PACKAGES = ("edgetune", "mlx", "mlx-lm", "gguf", "textual")


def _about(device: Device) -> Iterator[Finding]:
    yield Finding("device", "ok", f"{device}; training computes in {device.dtype}")
    yield Finding("memory", "ok", f"{device.memory_limit_bytes / 2**30:.1f} GiB for models")
    if device.kind == "cpu" and sys.platform == "linux":
        if device.blas is None:
            yield Finding(
                "BLAS",
                "warning",
                "no OpenBLAS found; MLX's built-in reference BLAS is 10 to 30 times slower",
                OPENBLAS_HINT,
            )
        else:
            threads = "1 thread" if device.blas_threads == 1 else f"{device.blas_threads} threads"
            yield Finding("BLAS", "ok", f"{device.blas}, {threads}")
    gflops = _matmul_gflops(device)
    # LoRA costs two operations per weight and token forward, and as many back to the inputs.
    tokens = gflops * 1e9 / (4 * 0.5e9)
    yield Finding(
        "matmul",
        "ok",
        f"{gflops:,.0f} GFLOP/s in {device.dtype}: at best {_two_digits(tokens)} tokens per "
        "second when tuning a model of half a billion weights",
    )


def _two_digits(value: float) -> str:
    return f"{float(f'{value:.2g}'):,.0f}" if value >= 10 else f"{value:.2g}"


def _package(name: str) -> Finding:
    try:
        return Finding(name, "ok", metadata.version(name))
    except metadata.PackageNotFoundError:
        return Finding(name, "missing", "not installed", f"pip install {name}")


def _llama_cpp() -> Finding:
    name = "llama-cpp-python"
    hint = (
        "pip install --force-reinstall --no-cache-dir llama-cpp-python (it is compiled, which "
        "takes minutes and needs a C and C++ compiler: `sudo apt-get install g++` on Debian, "
        "`xcode-select --install` on macOS)"
    )
    try:
        importlib.import_module("llama_cpp")
    except Exception as error:  # a damaged native library raises whatever its loader does
        return Finding(name, "missing", f"it cannot be loaded: {error}", hint)
    return Finding(name, "ok", metadata.version(name))


def _embedded_model() -> Finding:
    from edgetune import hub

    try:
        hub.check_model(paths.NANO_MODEL)
    except EdgetuneError as error:
        return Finding("nano", "missing", error.message, "Install edgetune again.")
    return Finding("nano", "ok", f"the embedded model, in {paths.NANO_MODEL}")
