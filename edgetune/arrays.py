"""MLX arrays in safetensors files."""

import errno
import os
import shutil
from pathlib import Path

from edgetune import device

device.prepare()

import mlx.core as mx  # noqa: E402


def load_arrays(file: Path) -> dict[str, mx.array]:
    """The arrays of a safetensors file, read now and not on first use."""
    arrays = mx.load(str(file))
    assert isinstance(arrays, dict)
    mx.eval(arrays)
    return arrays


def save_arrays(file: Path, arrays: dict[str, mx.array]) -> None:
    """Write a safetensors file, in place (callers see to the atomicity of the whole).

    Raises OSError, where MLX itself has only a RuntimeError without a cause for a full disk.
    """
    try:
        mx.save_safetensors(str(file), arrays, {"format": "mlx"})
    except RuntimeError as error:
        full = shutil.disk_usage(file.parent).free < sum(array.nbytes for array in arrays.values())
        number = errno.ENOSPC if full else errno.EIO
        raise OSError(number, os.strerror(number), str(file)) from error
