# make quickstart   set up, then fine-tune the embedded model and see that it worked
# make test         set up, then everything that must hold
# make test-slow    set up, then all tests, with those that take minutes: the notebooks, top to bottom
# make setup        .venv alone
#
# An existing .venv is used as it is; packages are installed again only when what they are installed from changes.

.PHONY: setup test test-slow quickstart

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check
SOURCES := pyproject.toml constraints.txt
# One process of tests a core, each of up to 2 GB; eight at most.
WORKERS ?= -n auto --maxprocesses 8 --dist worksteal

setup: .venv/installed

quickstart: setup
	$(BIN)/tunesmith quickstart

test: .venv/installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest $(WORKERS)

test-slow: .venv/installed-for-tests
	TUNESMITH_SLOW=1 $(BIN)/python -m pytest $(WORKERS)

# The first of these that is there and is Python 3.11 or later; `make PYTHON=...` names another.
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or later was found; name one: make PYTHON=/path/to/python"; exit 2; }
	$(PYTHON) -m venv .venv

# The stamps come after the interpreter in order only: its date says nothing about the packages.
.venv/installed: $(SOURCES) | $(BIN)/python
	$(PIP) -c constraints.txt -e .
	@touch $@

.venv/installed-for-tests: $(SOURCES) | $(BIN)/python
	$(PIP) -c constraints.txt -e ".[test]"
	@touch .venv/installed $@
