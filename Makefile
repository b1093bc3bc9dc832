# Every target sets itself up in .venv from nothing but Python >= 3.11 and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Limits `check`, `test` and `bench` to one component: make check C=proxy
C      ?=
# One of the ways to run the demo: make demo NETWORK=host|sandbox|none
NETWORK ?=

TESTS  := $(if $(C),$(wildcard tests/$(C) tests/*/$(C) tests/kernel/test_$(C)*.py),tests)
CODE   := $(if $(C),$(wildcard src/seaway/$(C) src/seaway/*/$(C)) $(TESTS),src tests bench examples)

.PHONY: demo up test check lint format bench clean

demo: $(STAMP)
	@$(BIN)/python examples/demo.py $(NETWORK)

up: $(STAMP)
	@$(BIN)/seaway up

# Tests that run one after the other: they count what is left of processes and rules, or write one page together
ALONE  := tests/clients tests/kernel tests/system
BESIDE := -n auto $(ALONE:%=--ignore %)

test: $(STAMP)
ifeq ($(C),)
	@$(BIN)/python -m pytest -q tests $(BESIDE)
	@$(BIN)/python -m pytest $(ALONE)
else
	@$(BIN)/python -m pytest $(TESTS)
endif

check: lint
	@$(BIN)/python -m pytest -q $(if $(C),$(TESTS),tests $(BESIDE))

lint: $(STAMP)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(STAMP)
	@$(BIN)/ruff format src tests bench examples
	@$(BIN)/ruff check --fix src tests bench examples

bench: $(STAMP)
	@$(BIN)/python -m bench $(C)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "seaway: $$($(PYTHON) --version) found, 3.11 or later needed; run make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	    { echo "seaway: this Python has no ensurepip; install the package python3-venv" >&2; exit 1; }
	@echo "setting up $(VENV) (once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[dev]'
	@touch $(STAMP)
