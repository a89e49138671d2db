"""``python -m edgetune`` is the ``edgetune`` command."""

from edgetune.cli.main import main

if __name__ == "__main__":
    main()
