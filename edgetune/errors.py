"""What can go wrong, told as one paragraph: what, where, and what to do about it."""

import errno
from pathlib import Path


class EdgetuneError(Exception):
    """Work that failed (exit status 1).

    ``message`` says what is wrong and where; ``hint`` says what to do.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class RequestError(EdgetuneError):
    """A request that cannot be met as it stands: flags, settings, data, missing model (exit 2)."""

    exit_code = 2


class Interrupted(EdgetuneError):
    """Stopped on request, with everything worth keeping saved (exit 130)."""

    exit_code = 130


def explain_os_error(error: OSError, doing: str) -> EdgetuneError:
    """Turn an operating system error into one of ours; ``doing`` names the work, e.g.
    "writing the checkpoint"."""
    where = f" ({Path(error.filename)})" if isinstance(error.filename, str) else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return EdgetuneError(
            f"The disk is full: {doing} failed{where}.",
            "Nothing was left half-written and what was saved before is still valid. "
            "Free some space and run the command again.",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return EdgetuneError(
            f"No permission: {doing} failed{where}: {error.strerror}.",
            "Choose a folder that you may write to.",
        )
    what = doing[:1].upper() + doing[1:]
    return EdgetuneError(f"{what} failed{where}: {error.strerror or error}.")
