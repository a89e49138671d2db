"""What is needed once more later, in a temporary file instead of memory."""

import os
import tempfile
from array import array

from edgetune.errors import explain_os_error


class Spill:
    """A temporary file that grows, read from anywhere. It is gone when the process ends."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this
        self._written = True

    def write(self, data: bytes) -> None:
        """Raises EdgetuneError when the disk is full."""
        try:
            self._file.write(data)
        except OSError as error:
            doing = f"keeping texts in {tempfile.gettempdir()} (TMPDIR names another folder)"
            raise explain_os_error(error, doing) from None
        self._written = False

    def read(self, start: int, size: int) -> bytes:
        """``size`` bytes from ``start`` on."""
        if not self._written:
            self._file.flush()
            self._written = True
        return os.pread(self._file.fileno(), size, start)

    def close(self) -> None:
        """Remove the file."""
        self._file.close()


class Texts:
    """Pairs of texts, each found again by its number."""

    def __init__(self) -> None:
        self._spill = Spill()
        self._ends, self._firsts = array("Q", [0]), array("I")

    def add(self, first: str, second: str) -> None:
        """One more pair. Lone surrogates are allowed."""
        one, other = (text.encode("utf-8", "surrogatepass") for text in (first, second))
        self._spill.write(one + other)
        self._ends.append(self._ends[-1] + len(one) + len(other))
        self._firsts.append(len(one))

    def read(self, number: int) -> tuple[str, str]:
        """A pair, by its number in the order of ``add``."""
        start = self._ends[number]
        data = self._spill.read(start, self._ends[number + 1] - start)
        border = self._firsts[number]
        one, other = (
            part.decode("utf-8", "surrogatepass") for part in (data[:border], data[border:])
        )
        return one, other

    def close(self) -> None:
        """Remove the file."""
        self._spill.close()
