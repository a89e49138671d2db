"""edgetune: tune a language model on your own instructions and run exactly what you trained.

The functions below do the work of the commands of the same name, print nothing and return
their results. They are looked up on first use, so that ``import edgetune`` loads no
accelerator library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgetune.evaluate import evaluate
    from edgetune.export import export, verify
    from edgetune.serve.engine import load
    from edgetune.train import train

__version__ = "0.1.0"
__all__ = ["__version__", "evaluate", "export", "load", "train", "verify"]

_HOME = {
    "evaluate": "edgetune.evaluate",
    "export": "edgetune.export",
    "verify": "edgetune.export",
    "load": "edgetune.serve.engine",
    "train": "edgetune.train",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
        globals()[name] = value  # shadows a subpackage of the same name, as documented above
        return value
    raise AttributeError(f"module 'edgetune' has no attribute {name!r}")
