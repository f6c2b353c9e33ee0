# Two commands do everything: `make demo` runs the main job, `make test` passes the tests.
# Both set up .venv first (Python 3.11 or newer); nothing else is needed on the machine.

# The first of these that is at least Python 3.11; override with `make PYTHON=/path/to/python`.
PYTHON ?= $(shell for p in python3 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& echo $$p && break; done)
BIN := .venv/bin

.PHONY: demo test check setup clean

demo: setup
	$(BIN)/python examples/demo.py --out demo

# Two processes share the tests: most of the time one core would wait.
PYTEST := $(BIN)/python -m pytest -n 2

test: setup
	$(PYTEST)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST)

setup: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found; install one, or say make PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/fakestormer setup
	touch $@

clean:
	rm -rf .venv demo
