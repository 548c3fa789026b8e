# SPDX-License-Identifier: Apache-2.0
# make setup | demo | test | test-all | test-boards | docs | tables | lint     Everything goes into .venv; what the tests need besides
# (g++, clang++, Icarus Verilog, Tcl, perl, Chromium) is installed by apt-get, as root on Debian and Ubuntu only, else the line to run
# is printed.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?= $(shell for p in python3.11 python3.10 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 10), (3, 11)))' 2>/dev/null && echo $$p && break; done)
export TF_CPP_MIN_LOG_LEVEL := 3

.PHONY: setup demo test test-all test-boards docs tables lint clean

setup: $(STAMP)

# Command and Debian package: there already, or installed now.
tool = command -v $(1) >/dev/null || { command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && apt-get update -q && \
	apt-get install -qy --no-install-recommends $(2); }

$(STAMP): requirements.txt pyproject.toml
	@if [ -z "$(PYTHON)" ]; then echo "hls4attn needs Python 3.11 or 3.10 (TensorFlow 2.14 has no wheel for others): install one, or run make setup PYTHON=/path/to/python3.11" >&2; exit 1; fi
	@$(call tool,g++,g++) || { echo "A C++ compiler is missing; install it with: sudo apt-get install g++" >&2; exit 1; }
	@$(call tool,clang++,clang) || echo "clang++ is missing, which only the tests need; install it with: sudo apt-get install clang" >&2
	@$(call tool,iverilog,iverilog) || echo "Icarus Verilog is missing, which only the tests need; install it with: sudo apt-get install iverilog" >&2
	@$(call tool,tclsh,tcl) || echo "Tcl is missing, which the dry run of a build needs; install it with: sudo apt-get install tcl" >&2
	@$(call tool,perl,perl) || echo "perl is missing, which Verilator needs in the tests; install it with: sudo apt-get install perl" >&2
	@$(call tool,chromium,chromium) && $(call tool,chromedriver,chromium-driver) || echo "Chromium or its driver is missing, which only the tests need; install them with: sudo apt-get install chromium chromium-driver" >&2
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (about two minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup
	@$(BIN)/hls4attn demo

# A file's tests share what they compile, so one process has them all; tests/conftest.py says which files go first.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: setup
	$(PYTEST) -m "not slow"

test-all: setup
	$(PYTEST)

# The driver with each version of PYNQ that boards have, in environments like theirs: without TensorFlow and ONNX.
BOARD_PYNQ := 3.0.1 3.1.2 4.0.0
BOARD_TESTS := $(shell grep -v '^\#' requirements-board/tests.txt)
PYENV := $(or $(PYENV_ROOT),$(HOME)/.pyenv)
# The Python of the boards' images if it is there, else one that this PYNQ takes, too.
board_python = $(shell for p in $(1); do for c in $$p $$(ls -d $(PYENV)/versions/*/bin/$$p 2>/dev/null); do \
	$$c -c 'import ensurepip' 2>/dev/null && echo $$c && exit; done; done)

test-boards: $(BOARD_PYNQ:%=.venv-pynq-%/.installed)
	@for v in $(BOARD_PYNQ); do echo "== PYNQ $$v, $$(.venv-pynq-$$v/bin/python --version)"; \
		.venv-pynq-$$v/bin/python -W ignore -c "from hls4attn.host.pynq_compat import import_pynq; import_pynq()" && \
		.venv-pynq-$$v/bin/python -m pytest -q -n 2 --dist loadfile -m "not slow and not compile" $(BOARD_TESTS) || exit 1; done

.venv-pynq-%/.installed: requirements-board/pynq-%.txt requirements-board/common.txt pyproject.toml
	@python="$(call board_python,$(if $(filter 4.%,$*),python3.12 python3.11 python3.10,python3.10 python3.11))"; \
		[ -n "$$python" ] || { echo "PYNQ $* needs Python 3.10 or 3.11: install one" >&2; exit 1; }; \
		echo "Installing PYNQ $* for $$($$python --version) into .venv-pynq-$*"; \
		[ -x .venv-pynq-$*/bin/python ] || $$python -m venv .venv-pynq-$*
	@.venv-pynq-$*/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-board/pynq-$*.txt
	@.venv-pynq-$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict -f docs/mkdocs.yml
	@echo "site: build/site/index.html"

# Drawings, and tables of the README and the pages, from the committed records and from the code.
tables: setup
	$(BIN)/python docs/make

# mypy sees the folders under their import names through links.
lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p build/types/hls4attn && for d in models hls overlays host; do ln -sfn ../../../$$d build/types/hls4attn/$$d; done
	cd build/types && ../../$(BIN)/mypy --config-file ../../pyproject.toml -p hls4attn

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
