"""Matrix products on this device, with and without the BLAS that edgetune finds on a Linux CPU.

    python tests/bench/bench_matmul.py

Sizes are those of a linear layer on one micro-batch: (rows, width) times (width, width).
"""

import subprocess
import sys

MEASURE = """
import sys, time
from edgetune import device
if sys.argv[1] == "prepared":
    device.prepare()
import mlx.core as mx
for rows, width in ((512, 256), (2048, 576), (2048, 1024), (2048, 2048)):
    for dtype in (mx.float32, mx.bfloat16):
        a, b = mx.ones((rows, width), dtype=dtype), mx.ones((width, width), dtype=dtype)
        mx.eval(a, b, a @ b)
        best, started = float("inf"), time.perf_counter()
        while best == float("inf") or time.perf_counter() - started < 0.3:
            begin = time.perf_counter()
            mx.eval(a @ b)
            best = min(best, time.perf_counter() - begin)
        speed = 2 * rows * width * width / best / 1e9
        name = f"{rows} x {width}, {str(dtype).rpartition('.')[2]}"
        print(f"{sys.argv[1]:10}{name:24}{speed:10.1f} GFLOP/s", flush=True)
"""


def main() -> None:
    for how in ("plain", "prepared"):
        subprocess.run([sys.executable, "-c", MEASURE, how], check=True)


if __name__ == "__main__":
    main()
