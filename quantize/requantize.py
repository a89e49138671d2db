"""The child process that lets llama.cpp quantize: ``python -m edgetune.quantize.requantize``."""

import ctypes
import sys
from pathlib import Path

import llama_cpp

from .child import Child


def main(folder: Path) -> None:
    child = Child(folder)
    request = child.request
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = request["file_type"]
    # A null pattern ends the list.
    overrides = (llama_cpp.llama_model_tensor_override * (len(request["overrides"]) + 1))()
    for override, (pattern, kind) in zip(overrides, request["overrides"], strict=False):
        override.pattern = pattern.encode()
        override.type = kind
    if request["overrides"]:
        parameters.tt_overrides = ctypes.cast(
            overrides, ctypes.POINTER(llama_cpp.llama_model_tensor_override)
        )
    child.stage("quantizing")
    llama_cpp.llama_backend_init()
    code = llama_cpp.llama_model_quantize(
        request["source"].encode(), request["output"].encode(), ctypes.byref(parameters)
    )
    if code != 0:
        sys.exit(1)
    child.answer({})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
