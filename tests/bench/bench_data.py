"""How long a look at much data takes, and how fast it becomes batches.

    python tests/bench/bench_data.py [--rows 100000] [--json]

Inspecting: generated rows with the spread of lengths of instruction data, some of them repeated
exactly or nearly, read, examined and searched for duplicates in a process of its own; seconds and
peak memory are that process's. Tokenizing and packing: the same kind of rows, rendered with the
chat template, tokenized, masked and packed; the median of some rounds. Other work on the machine
counts in every figure.
"""

import argparse
import itertools
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROUNDS = 3
TOKENIZED_ROWS = 6000
LONGEST = 1024
BESIDE = Path(__file__).resolve().parents[2].parent / "shared" / "data"
TOKENIZERS = Path(os.environ.get("EDGETUNE_TEST_DATA") or BESIDE) / "tokenizers"


def rows(count: int, seed: int = 0) -> Iterator[dict[str, str]]:
    """Alpaca rows: log-normal lengths (median 15 words asked, 80 answered), words with a natural
    spread of frequencies, a hundredth of the rows repeated and a hundredth nearly repeated."""
    source = random.Random(seed)
    letters = ["bcdfghklmnprstvw", "aeiou"]
    vocabulary = list(
        dict.fromkeys(
            "".join(source.choice(letters[at % 2]) for at in range(source.randint(2, 9)))
            for _ in range(30_000)
        )
    )
    frequencies = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(vocabulary))))
    kept: list[dict[str, str]] = []

    def sentences(median: float) -> str:
        words = source.choices(
            vocabulary,
            cum_weights=frequencies,
            k=max(3, int(median * source.lognormvariate(0, 0.7))),
        )
        for start in range(0, len(words), 12):
            words[start] = words[start].capitalize()
            end = min(start + 11, len(words) - 1)
            words[end] += "."
        return " ".join(words)

    for number in range(count):
        if kept and number % 100 == 0:
            yield source.choice(kept)
        elif kept and number % 100 == 50:
            row = source.choice(kept)
            yield row | {"output": f"{row['output']} {source.choice(vocabulary).capitalize()}."}
        else:
            row = {"instruction": sentences(15), "input": "", "output": sentences(80)}
            if len(kept) < 1000:
                kept.append(row)
            yield row


def write(path: Path, count: int, seed: int = 0) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows(count, seed):
            file.write(json.dumps(row) + "\n")


def inspect(train: str, valid: str) -> None:
    """The child process: examine, print figures as JSON."""
    from edgetune.config import SourceConfig
    from edgetune.data import reading, report

    begin = time.perf_counter()
    found = report.examine(
        reading.read(SourceConfig(path=train)), reading.read(SourceConfig(path=valid))
    )
    seconds = time.perf_counter() - begin
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = used.ru_maxrss
    figures = {
        "rows": found["rows"],
        "seconds": round(seconds, 1),
        "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_memory_mb": round(peak * (1 if sys.platform == "darwin" else 1024) / 1e6),
        "duplicates": found["duplicates"],
    }
    print(json.dumps(figures))


def measure_inspecting(count: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        train, valid = Path(folder) / "train.jsonl", Path(folder) / "valid.jsonl"
        write(train, count * 19 // 20)
        write(valid, count - count * 19 // 20, seed=1)
        done = subprocess.run(
            [sys.executable, __file__, "--child", str(train), str(valid)],
            check=True,
            capture_output=True,
            text=True,
        )
    figures: dict[str, object] = json.loads(done.stdout)
    return figures


def measure_tokenizing() -> dict[str, object]:
    from edgetune.config import DataConfig
    from edgetune.data.conversation import Conversation, Message
    from edgetune.data.packing import make_batches
    from edgetune.data.template import RowProblem, to_examples
    from edgetune.data.templates.builtin import choose_template
    from edgetune.data.tokenizer import Tokenizer
    from edgetune.hub import resolve_model

    real = TOKENIZERS / "qwen2.5"
    tokenizer = Tokenizer.from_directory(real if real.is_dir() else resolve_model("nano"))
    template = choose_template(tokenizer, DataConfig())
    conversations = [
        Conversation(
            (Message("user", row["instruction"]), Message("assistant", row["output"])), line=number
        )
        for number, row in enumerate(rows(TOKENIZED_ROWS), 1)
    ]

    def once() -> tuple[int, float]:
        begin = time.perf_counter()
        examples = [
            example
            for found in to_examples(conversations, tokenizer, template)
            if not isinstance(found, RowProblem)
            for example in found
            if len(example.ids) <= LONGEST
        ]
        tokens = sum(len(example.ids) for example in examples)
        for start in range(0, len(examples), 8):
            make_batches(examples[start : start + 8], 4096, LONGEST)
        return tokens, time.perf_counter() - begin

    once()
    results = [once() for _ in range(ROUNDS)]
    return {
        "tokenizer": "qwen2.5" if real.is_dir() else "nano",
        "tokens": results[0][0],
        "tokens_per_second": round(statistics.median(tokens / took for tokens, took in results)),
        "best_tokens_per_second": round(max(tokens / took for tokens, took in results)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000, help="how many to inspect")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        inspect(*chosen.child)
        return
    results = {
        "inspecting": measure_inspecting(chosen.rows),
        "tokenizing": measure_tokenizing(),
    }
    if chosen.json:
        print(json.dumps(results, indent=1))
        return
    looked, made = results["inspecting"], results["tokenizing"]
    print(
        f"inspecting {looked['rows']:,} rows: {looked['seconds']} s "
        f"({looked['processor_seconds']} s of one processor), {looked['peak_memory_mb']} MB at "
        f"most; repeated rows: {looked['duplicates']}"
    )
    print(
        f"tokenizing and packing ({made['tokenizer']}): {made['tokens_per_second']:,} tokens/s "
        f"(median of {ROUNDS}; best {made['best_tokens_per_second']:,})"
    )


if __name__ == "__main__":
    main()
