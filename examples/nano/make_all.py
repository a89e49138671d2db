"""Make the embedded model and the instruction dataset again, from nothing but this folder.

OPENBLAS_NUM_THREADS=1 MALLOC_MMAP_MAX_=0 MALLOC_ARENA_MAX=1 python make_all.py --work build
"""

from __future__ import annotations

import argparse
from pathlib import Path

import card
import corpus
import instructions
import tokenizer
from pretrain import Settings, pretrain

ASSETS = Path(__file__).resolve().parents[2] / "edgetune" / "assets"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("build"), help="where the corpus goes")
    parser.add_argument("--assets", type=Path, default=ASSETS, help="where the results go")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    text, model = arguments.work / "corpus.jsonl", arguments.assets / "nano"

    print("instructions")
    instructions.write(arguments.assets / "instruct")
    print("corpus", corpus.write(text, corpus.DOCUMENTS))
    print("tokenizer")
    tokenizer.build(corpus.read(text), model)
    report = pretrain(text, model, model, Settings())
    card.write(report, model, corpus.SEED)


if __name__ == "__main__":
    main()
