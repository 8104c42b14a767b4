# The README's commands. Needs python3 >= 3.11 with pip, and make; everything else is installed into .venv, from hashes.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
CANDIDATES := python3 python3.13 python3.12 python3.11
PYTHON ?= $(firstword $(foreach p,$(CANDIDATES),$(shell $(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))
RUN := $(VENV)/.run
DEV := $(VENV)/.dev
ENGINES := $(patsubst tests/integrations/%.txt,$(VENV)/engines/%/.installed,$(wildcard tests/integrations/*.txt))
WORKERS ?= 2
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --no-input --quiet

# What is started here keeps its bytecode: without it, each start of parityd compiles all of it again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test lint bench torture integrations lock clean

help: ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

run: $(RUN) ## the demo: the real daemon on the bundled sample (ARGS="--speed 1000" passes options)
	@$(BIN)/parityd demo $(ARGS)

test: $(DEV) ## the tests, side by side, then the fault tests and those that run alone (ARGS="tests/test_settings.py -x" passes options, WORKERS=0 runs them in one process)
	@run() { $(BIN)/python -m pytest "$$@" $(ARGS) || [ $$? = 5 ]; }; failed=0; \
	run -n $(WORKERS) --dist loadfile -m "not apart and not alone and not torture and not integrations" || failed=1; \
	run -n $(WORKERS) --dist loadfile -m "apart and not torture" || failed=1; \
	run -m "alone and not torture and not integrations" || failed=1; \
	exit $$failed

lint: $(DEV) ## formatting, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(DEV) ## what is claimed about speed, measured here: one table (ARGS="--trades 1000000 --runs 3" passes options)
	@$(BIN)/python benchmarks/table.py $(ARGS)

torture: $(DEV) ## the long form of the fault tests: a table of case, tries, outcome (ARGS="kills --kills 50" takes one row)
	$(BIN)/python tests/faults/torture.py $(ARGS)

integrations: $(DEV) $(ENGINES) ## tests with real trading engines, each installed into an environment of its own
	$(BIN)/python -m pytest -m integrations $(ARGS)

lock: ## the newest versions that pyproject.toml allows, into requirements/
	@temporary=$$(mktemp -d); trap 'rm -rf "$$temporary"' EXIT; \
	$(PYTHON) -m venv "$$temporary" && "$$temporary/bin/python" -m pip install --quiet uv && \
	compile() { "$$temporary/bin/uv" pip compile pyproject.toml requirements/build.in --quiet --universal --python-version 3.11 \
	  --fork-strategy fewest --generate-hashes --no-emit-index-url --no-annotate --no-header "$$@"; } && \
	compile --upgrade -o requirements/run.txt && \
	compile --upgrade --group dev --all-extras -c requirements/run.txt -o requirements/dev.txt && \
	compile --extra notify -c requirements/dev.txt -o requirements/notify.txt

clean: ## the virtual environment and every cache
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# Where Python comes without ensurepip (Debian's python3 without python3-venv), the pip beside it fills the environment.
$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "parityd needs Python 3.11 or newer; found: $$(python3 --version 2>&1 || echo none)" >&2; exit 1; }
	@echo "Making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { rm -rf $(VENV); $(PYTHON) -m venv --without-pip $(VENV); \
	  $(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check pip; }

$(RUN): requirements/run.txt pyproject.toml | $(BIN)/python
	@echo "Installing parityd and what it runs on"
	@$(INSTALL) --require-hashes -r requirements/run.txt
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): requirements/dev.txt $(RUN)
	@echo "Installing what the tests need"
	@$(INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@

# Engines ask for versions of their own, so none shares parityd's environment. One that cannot be installed is said, and its tests are skipped.
$(VENV)/engines/%/.installed: tests/integrations/%.txt
	@echo "Installing $*"
	@{ mkdir -p $(VENV)/engines && rm -rf $(VENV)/engines/$* && $(PYTHON) -m venv $(VENV)/engines/$* && \
	  $(VENV)/engines/$*/bin/python -m pip install --disable-pip-version-check --no-input --quiet -r $< && touch $@; } || \
	  echo "$* could not be installed: its tests are skipped" >&2
