"""How long the program takes to answer, and what its parts take to import.

    python tests/bench/bench_startup.py

Whole processes, so the interpreter's own start is in every figure; best and median of five.
"""

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python, nothing else": ["-c", "pass"],
    "edgetune --help": ["-m", "edgetune", "--help"],
    "edgetune train --help": ["-m", "edgetune", "train", "--help"],
    "edgetune runs list": ["-m", "edgetune", "runs", "list"],
    "edgetune models list": ["-m", "edgetune", "models", "list"],
    "import the terminal interface": ["-c", "import edgetune.tui.app"],
    "import llama.cpp": ["-c", "import llama_cpp"],
    "import MLX": ["-c", "import mlx.core"],
    "import mlx-lm": ["-c", "import mlx_lm"],
}


def main() -> None:
    for name, arguments in COMMANDS.items():
        seconds = []
        for _ in range(5):
            begin = time.perf_counter()
            subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
            seconds.append(time.perf_counter() - begin)
        best, median = min(seconds), statistics.median(seconds)
        print(f"{name:32}{best * 1000:8.0f} ms{median * 1000:8.0f} ms")


if __name__ == "__main__":
    main()
