# `make` installs edgetune into .venv, `make quickstart` shows all of it in one go.
#
# Variables: PYTHON=python3.12 (the Python to use), EXTRA=cpu|cuda12|cuda13 (the MLX backend on
# Linux, instead of the one chosen), CMAKE_ARGS (how llama.cpp is compiled).
# Kept to what GNU Make 3.81 and BSD tools understand, since macOS has those.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
DEVELOPING := $(VENV)/developing
SYSTEM := $(shell uname -s)
SUPPORTED := >=3.11,<3.15
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))

PIP_DISABLE_PIP_VERSION_CHECK := 1
# Only the text part of llama.cpp, and all processors to compile it.
CMAKE_ARGS ?= -DLLAVA_BUILD=OFF -DLLAMA_OPENSSL=OFF
CMAKE_BUILD_PARALLEL_LEVEL ?= $(shell getconf _NPROCESSORS_ONLN)
export PIP_DISABLE_PIP_VERSION_CHECK CMAKE_ARGS CMAKE_BUILD_PARALLEL_LEVEL

# The choice of a backend is kept in .venv; another EXTRA on the command line installs that one.
CHOSEN := $(shell cat $(VENV)/extra 2>/dev/null)
ifneq ($(EXTRA),)
ifneq ($(EXTRA),$(CHOSEN))
ANEW := anew
endif
endif

.PHONY: install quickstart test check bench tui clean anew

install: $(INSTALLED)
	@:

quickstart: $(INSTALLED)
	@$(BIN)/edgetune quickstart

tui: $(INSTALLED)
	@$(BIN)/edgetune tui

test: $(DEVELOPING)
	@$(BIN)/python -m pytest

# mypy and import-linter do not understand that tui/ and quantize/ are packages inside edgetune,
# so they look at a copy where they are.
check: $(DEVELOPING)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@rm -rf build/check && mkdir -p build/check && cp -Rp edgetune build/check/
	@cp -Rp tui build/check/edgetune/tui && cp -Rp quantize build/check/edgetune/quantize
	@cd build/check && status=0; \
	../../$(BIN)/mypy --config-file ../../pyproject.toml --python-executable ../../$(BIN)/python \
	  --cache-dir ../../.mypy_cache -p edgetune > mypy.txt 2>&1 || status=$$?; \
	sed -e 's|^edgetune/tui/|tui/|' -e 's|^edgetune/quantize/|quantize/|' mypy.txt; \
	exit $$status
	@cd build/check && ../../$(BIN)/lint-imports --config ../../pyproject.toml --no-cache

bench: $(DEVELOPING)
	@set -e; for file in tests/bench/bench_*.py; do $(BIN)/python $$file; done

# Runs are work and stay.
clean:
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find edgetune tui quantize tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@rm -rf $(VENV)
	@if command -v uv >/dev/null 2>&1; then \
	  exec uv venv --quiet --python '$(or $(PYTHON),$(SUPPORTED))' $(VENV); \
	fi; \
	fitting=; \
	for name in $(or $(PYTHON),python3 python3.13 python3.12 python3.14 python3.11); do \
	  path=`command -v $$name` || continue; \
	  $$path -c '$(FITS)' >/dev/null 2>&1 || continue; \
	  fitting=$$path; \
	  $$path -c 'import ensurepip, venv' >/dev/null 2>&1 || continue; \
	  exec $$path -m venv $(VENV); \
	done; \
	if test -n "$$fitting"; then \
	  echo "edgetune: $$fitting cannot create virtual environments: install its venv module (Debian, Ubuntu: sudo apt-get install python3-venv)." >&2; \
	else \
	  found=`$(or $(PYTHON),python3) --version 2>&1` || found="no Python"; \
	  echo "edgetune: Python 3.11 to 3.14 is needed, but here is $$found: install one (macOS: brew install python@3.13, or https://www.python.org/downloads; Debian, Ubuntu: sudo apt-get install python3-venv), or install uv, which brings its own (https://docs.astral.sh/uv)." >&2; \
	fi; \
	exit 1

# Install this folder, editable, with the extras in the shell variable `wanted`: "", "[cpu]", …
pip_install = \
	if command -v uv >/dev/null 2>&1; then \
	  uv pip install --quiet --python $(BIN)/python --editable ".$$wanted"; \
	else \
	  $(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null; \
	  $(BIN)/python -m pip install --quiet --editable ".$$wanted"; \
	fi

$(INSTALLED): pyproject.toml $(ANEW) | $(BIN)/python
	@set -e; \
	extra="$(or $(EXTRA),$(CHOSEN))"; \
	if test "$(SYSTEM)" = Darwin; then \
	  extra=none; \
	  $(BIN)/python -c 'import platform, sys; sys.exit(platform.machine() != "arm64")' || { \
	    rm -rf $(VENV); \
	    echo "edgetune: on a Mac, Apple silicon and a Python built for it (arm64) are needed." >&2; \
	    exit 1; \
	  }; \
	elif test -z "$$extra"; then \
	  cuda=`nvidia-smi 2>/dev/null | sed -n 's/.*CUDA [A-Za-z ]*Version: *\([0-9][0-9]*\).*/\1/p'` || true; \
	  if test "$${cuda:-0}" -ge 13; then extra=cuda13; \
	  elif test "$${cuda:-0}" -eq 12; then extra=cuda12; \
	  else extra=cpu; fi; \
	fi; \
	if ! $(BIN)/python -c 'import importlib.util as u, sys; sys.exit(u.find_spec("llama_cpp") is None)'; then \
	  for tool in "$${CC:-cc}" "$${CXX:-c++}"; do \
	    command -v $${tool%% *} >/dev/null 2>&1 || { \
	      echo "edgetune: llama.cpp has to be compiled, but there is no $$tool: install a C and C++ compiler (Debian, Ubuntu: sudo apt-get install g++; macOS: xcode-select --install)." >&2; \
	      exit 1; \
	    }; \
	  done; \
	  echo "Installing edgetune into $(VENV) (backend: $$extra). The first time llama.cpp is compiled, which takes about five minutes."; \
	else \
	  echo "Installing edgetune into $(VENV) (backend: $$extra)."; \
	fi; \
	wanted=; test $$extra = none || wanted="[$$extra]"; \
	$(pip_install); \
	echo $$extra > $(VENV)/extra; \
	$(BIN)/edgetune doctor; \
	touch $@; \
	echo "Ready: make quickstart, or $(BIN)/edgetune --help."

$(DEVELOPING): pyproject.toml $(INSTALLED)
	@set -e; \
	echo "Installing the tools for tests and checks."; \
	extra=`cat $(VENV)/extra`; \
	wanted="[dev]"; test $$extra = none || wanted="[$$extra,dev]"; \
	$(pip_install); \
	touch $@
