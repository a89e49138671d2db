"""The device is described truly, and a system OpenBLAS really multiplies."""

import ctypes
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgetune import device

MEASURE = """
import json, sys, time
if sys.argv[1] == "prepared":
    from edgetune import device
    device.prepare()
    device.prepare()
import mlx.core as mx
a, b = mx.random.normal((512, 512)), mx.random.normal((512, 512))
mx.eval(a, b, a @ b)
best = float("inf")
for _ in range(8):
    begin = time.perf_counter()
    mx.eval(a @ b)
    best = min(best, time.perf_counter() - begin)
blas = None
if sys.argv[1] == "prepared":
    blas = device.describe().blas
print(json.dumps({"gflops": 2 * 512**3 / best / 1e9, "blas": blas}))
"""


def measure(how: str) -> dict[str, float | str | None]:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, how], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def has_openblas() -> bool:
    try:
        return sys.platform == "linux" and bool(ctypes.CDLL("libopenblas.so.0"))
    except OSError:
        return False


@pytest.mark.skipif(not has_openblas(), reason="there is no system OpenBLAS for a Linux CPU here")
def test_a_system_openblas_speeds_up_matrix_products() -> None:
    prepared, plain = measure("prepared"), measure("plain")
    assert str(prepared["blas"]).startswith("OpenBLAS 0.")
    assert isinstance(prepared["gflops"], float) and isinstance(plain["gflops"], float)
    assert prepared["gflops"] > 2 * plain["gflops"]


def test_preparing_without_any_openblas_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_candidates", lambda: iter(["libno-such-blas.so.0", "libm.so.6"]))
    monkeypatch.delitem(sys.modules, "mlx.core", raising=False)
    assert device._openblas.__wrapped__() is None


def test_after_mlx_is_imported_no_blas_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlx.core", SimpleNamespace())  # type: ignore[arg-type]
    assert device._openblas.__wrapped__() is None


def test_the_device_is_described() -> None:
    found = device.describe()
    assert found.kind in ("metal", "cuda", "cpu")
    assert found.dtype == ("float32" if found.kind == "cpu" else "bfloat16")
    assert found.memory_limit_bytes > 2**28
    assert found.name and found.name in str(found)


class FakeMlx(SimpleNamespace):
    """What ``describe`` asks of mlx.core, as on a GPU."""

    def __init__(self, metal: bool, info: dict[str, object]) -> None:
        super().__init__(
            gpu="gpu",
            default_device=lambda: "gpu",
            metal=SimpleNamespace(is_available=lambda: metal),
            device_info=lambda: info,
            get_memory_limit=lambda: 7,
        )


@pytest.mark.parametrize(
    ("metal", "info", "kind", "limit"),
    [
        (True, {"device_name": "M", "max_recommended_working_set_size": 5}, "metal", 5),
        (False, {"device_name": "H", "total_memory": 6}, "cuda", 6),
        (False, {"device_name": "H"}, "cuda", 7),
    ],
)
def test_a_gpu_trains_in_the_models_own_precision(
    monkeypatch: pytest.MonkeyPatch, metal: bool, info: dict[str, object], kind: str, limit: int
) -> None:
    import mlx

    fake = FakeMlx(metal, info)
    monkeypatch.setitem(sys.modules, "mlx.core", fake)  # type: ignore[arg-type]
    monkeypatch.setattr(mlx, "core", fake)
    found = device.describe()
    assert (found.kind, found.dtype, found.memory_limit_bytes) == (kind, "bfloat16", limit)


@pytest.mark.parametrize(
    ("text", "quota"), [("200000 100000\n", 2), ("50000 100000\n", 1), ("max 100000\n", None)]
)
def test_a_containers_share_of_the_processor_bounds_the_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, quota: int | None
) -> None:
    (tmp_path / "cpu.max").write_text(text)
    monkeypatch.setattr(device, "_CGROUP", tmp_path)
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    chosen: list[int] = []
    library = SimpleNamespace(
        openblas_get_num_threads=lambda: 64, openblas_set_num_threads=chosen.append
    )
    device._respect_quota(device._Blas("OpenBLAS", library))  # type: ignore[arg-type]
    assert chosen == ([] if quota is None else [quota])
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "8")
    device._respect_quota(device._Blas("OpenBLAS", library))  # type: ignore[arg-type]
    assert len(chosen) <= 1  # what the user chose stays


def test_a_containers_memory_is_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("1048576\n")
    assert device._main_memory() == 1048576
    (tmp_path / "memory.max").write_text("max\n")
    assert device._main_memory() > 2**28
