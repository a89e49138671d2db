"""edgetune: tune a language model on your own instructions and run exactly what you trained.

The functions below do the work of the commands of the same name, print nothing and return
their results. They are looked up on first use, so that ``import edgetune`` loads no
accelerator library.
"""

import sys
from importlib import import_module
from types import ModuleType
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


class _Package(ModuleType):
    """This package. Some functions share their name with the module they live in; importing such
    a module would put it over the function, depending on what was imported first. Here the name
    on the package always means the function, and ``from edgetune.train import …`` the module."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name in _HOME:
            value = getattr(import_module(_HOME[name]), name)
            setattr(self, name, value)
            return value
        raise AttributeError(f"module 'edgetune' has no attribute {name!r}")


sys.modules[__name__].__class__ = _Package
