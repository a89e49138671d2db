"""The same as ``bench_data.py``, which ``make bench`` finds by its name."""

from bench_data import main

if __name__ == "__main__":
    main()
