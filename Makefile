# Tollgate: one command per thing. Needs make and Python >= 3.11; everything else goes into .venv.
# `make help` lists the targets. Another interpreter: make PYTHON=python3.12 test

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

# What a command of ours on this checkout keeps on disk; an installed `tollgate` uses ~/.tollgate.
export TOLLGATE_HOME ?= $(CURDIR)/.tollgate

# The tool that `make lock` resolves with; it is in no requirements file because nothing else uses it.
UV := uv==0.13.8
LOCK_VENV := .venv-lock

INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps

# Folders of tests, the quick ones first; tests/conftest.py keeps the same order within one run.
FAST_TESTS := $(wildcard tests/unit tests/property tests/simulation tests/guard)

.DEFAULT_GOAL := help

.PHONY: help
help: ## List these targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.run ## Bill real input on an embedded Kafka and ClickHouse, prove the totals
	@$(BIN)/tollgate demo

.PHONY: up
up: $(VENV)/.run ## Run everything on this machine until Ctrl-C
	@$(BIN)/tollgate up

.PHONY: down
down: $(VENV)/.run ## Stop what `make up` runs
	@$(BIN)/tollgate down

.PHONY: audit
audit: $(VENV)/.run ## Decide everything again from the log and compare
	@$(BIN)/tollgate audit

.PHONY: doctor
doctor: $(VENV)/.run ## Tell what is missing on this machine and how to get it
	@$(BIN)/tollgate doctor

.PHONY: test
test: lint ## Everything that must pass: lint, types, imports, all tests
	@$(BIN)/python -m pytest

.PHONY: check
check: lint ## The quick, offline part of `make test`
	@$(BIN)/python -m pytest $(FAST_TESTS)

SEEDS ?= 1
FROM ?= 1
.PHONY: soak
soak: $(VENV)/.dev ## Kill, pause and cut off a running installation; SEEDS=N schedules, FROM=K
	@$(BIN)/python -m tests.soak --seeds $(SEEDS) --from $(FROM)

.PHONY: failover
failover: $(VENV)/.dev ## Measure how long a partition stands still when its owner ends
	@$(BIN)/python -m tests.recovery.failover

BENCH_ARGS ?=
.PHONY: bench
bench: $(VENV)/.run ## Measure the worker's speed; BENCH_ARGS='--events 200000 --rounds 3'
	@$(BIN)/tollgate bench pipeline $(BENCH_ARGS)

BENCH_PEERS_ARGS ?=
.PHONY: bench-peers
bench-peers: $(VENV)/.run ## Tollgate beside Kafka Streams and Flink (needs a JDK and Maven)
	@$(BIN)/python -m bench.peers $(BENCH_PEERS_ARGS)

.PHONY: lint
lint: $(VENV)/.dev ## ruff, mypy and the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --no-cache

.PHONY: format
format: $(VENV)/.dev ## Rewrite the code as ruff wants it
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: docs
docs: $(VENV)/.dev ## Make again what in docs/ is made from code
	@$(BIN)/python -m tests.guard.generated

.PHONY: lock
lock: ## Resolve the requirements again (UPGRADE=1 for newer versions)
	@$(PYTHON) -m venv $(LOCK_VENV)
	@$(LOCK_VENV)/bin/python -m pip install --quiet --disable-pip-version-check '$(UV)'
	@UV='$(LOCK_VENV)/bin/uv' bash requirements/lock.sh $(if $(UPGRADE),--upgrade)

.PHONY: clean
clean: ## Remove virtual environments and caches; data in .tollgate stays
	rm -rf $(VENV) $(LOCK_VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# --- the virtual environment ---------------------------------------------------------------------
# Each stamp depends on what decides the environment's content, so an edit there installs again.
# Versions and hashes come from requirements/ alone (--no-deps): see requirements/README.md.

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Tollgate needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo 'not there')." >&2; \
	  echo "Name another one: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@echo "making $(VENV) with $$($(PYTHON) --version)" >&2
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "Could not make a virtual environment. On Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }
	@touch $@

$(VENV)/.run: $(VENV)/pyvenv.cfg pyproject.toml requirements/build.txt requirements/embedded.txt
	@echo "installing what Tollgate runs with (some 235 MB the first time)" >&2
	@$(INSTALL) --require-hashes -r requirements/build.txt -r requirements/embedded.txt
	@$(INSTALL) --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	@echo "installing the tools that check it (some 30 MB)" >&2
	@$(INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@
