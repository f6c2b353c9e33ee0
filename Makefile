# `make demo` runs the main job and `make test` passes the tests. `make check` checks style and types,
# `make docs` builds the documentation site. Each sets up .venv first; nothing else is needed.

# The first of these that is Python 3.11, 3.12 or 3.13; override with `make PYTHON=/path/to/python`.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& echo $$p && break; done)
BIN := .venv/bin

.PHONY: demo test check docs reference setup clean

demo: .venv/demo
	$(BIN)/python examples/demo.py --out demo

# Two processes share the tests: most of the time one core would wait.
PYTEST := $(BIN)/python -m pytest -n 2

test: setup
	$(PYTEST)

# Style and types, without the tests: .ci/run runs `make check test`.
check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site, in site/; needs no network. Every warning, such as a broken link, is an error.
docs: setup
	$(BIN)/sphinx-build -W --keep-going -q -b html docs site
	@echo "The documentation is in site/index.html"

# docs/reference/commands.md, from the commands themselves; a test fails when it is out of date.
reference: setup
	$(BIN)/python docs/command_reference.py

setup: .venv/installed

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 found; install one, or run make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv

INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# What the demo needs, which is a part of what development needs.
.venv/demo: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) -e '.[demo]'
	$(BIN)/fakestormer setup
	touch $@

.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) -e '.[dev]'
	$(BIN)/fakestormer setup
	touch $@ .venv/demo

clean:
	rm -rf .venv demo site
