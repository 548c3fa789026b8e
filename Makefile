# SPDX-License-Identifier: Apache-2.0
# make setup | demo | test | test-all | lint     Everything goes into .venv; a missing g++, clang++ (the tests' second
# compiler) or iverilog (their Verilog simulator) is installed by apt-get, as root on Debian and Ubuntu only, else the
# line to run is printed.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?= $(shell for p in python3.11 python3.10 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 10), (3, 11)))' 2>/dev/null && echo $$p && break; done)
export TF_CPP_MIN_LOG_LEVEL := 3

.PHONY: setup demo test test-all lint clean

setup: $(STAMP)

$(STAMP): requirements.txt pyproject.toml
	@if [ -z "$(PYTHON)" ]; then echo "hls4attn needs Python 3.11 or 3.10 (TensorFlow 2.14 has no wheel for others): install one, or run make setup PYTHON=/path/to/python3.11" >&2; exit 1; fi
	@command -v g++ >/dev/null || { command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && apt-get update -q && apt-get install -qy g++; } \
		|| { echo "A C++ compiler is missing; install it with: sudo apt-get install g++" >&2; exit 1; }
	@command -v clang++ >/dev/null || { command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && apt-get update -q && apt-get install -qy --no-install-recommends clang; } \
		|| echo "clang++ is missing, which only the tests need; install it with: sudo apt-get install clang" >&2
	@command -v iverilog >/dev/null || { command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && apt-get update -q && apt-get install -qy --no-install-recommends iverilog; } \
		|| echo "Icarus Verilog is missing, which only the tests need; install it with: sudo apt-get install iverilog" >&2
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (about two minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup
	@$(BIN)/hls4attn demo

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

test-all: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile

# mypy sees the folders under their import names through links.
lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p build/types/hls4attn && for d in models hls overlays host; do ln -sfn ../../../$$d build/types/hls4attn/$$d; done
	cd build/types && ../../$(BIN)/mypy --config-file ../../pyproject.toml -p hls4attn

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
