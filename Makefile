# Everything a user or a developer does, one word each. `make` alone lists the words.
# Needs make, git and python3 (3.11 or newer, with venv); servers are installed on first use, saying so.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
# Test processes side by side, each with servers of its own.
TEST_PROCESSES ?= 3

BIN := .venv/bin
UV := .state/tools/bin/uv
COMPILE = UV_CUSTOM_COMPILE_COMMAND="make lock" $(UV) pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links

export UV_PYTHON_DOWNLOADS := never
# Caches and environments are often on different file systems, where hard links cannot be made.
export UV_LINK_MODE := copy
# Tests start hundreds of processes; without compiled files at hand each takes 1.6 CPU-seconds to import the engine in place of 0.6. They are
# written as files are imported, beside none of the sources, also where an environment (as that of many images) asks for none.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX := $(CURDIR)/.state/pycache

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: env
env: .venv/complete ## Create the environment .venv from the locked requirements

$(UV): requirements-build.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: Python 3.11 or newer is needed, $(PYTHON) is older: try make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' \
		|| { echo "error: $(PYTHON) cannot make environments: install its venv package (python3-venv on Debian)" >&2; exit 1; }
	$(PYTHON) -m venv .state/tools
	.state/tools/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-build.txt
	@touch $@

.venv/complete: $(UV) requirements-dev.txt pyproject.toml
	test -x $(BIN)/python || $(UV) venv --quiet --python "$$(.state/tools/bin/python -c 'import sys; print(sys._base_executable)')" .venv
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: servers
servers: env ## Install and download the servers (Kafka, Redis, Prometheus) without starting any
	$(BIN)/python -m deploy.local fetch

.PHONY: demo
demo: env ## Start the stack, a worker and a simulator, and watch (DEMO_SECONDS=60 make demo ends by itself)
	@$(BIN)/python -m deploy.local.demo

# In the order of collection the longest files come first; by the number of their tests, which is the default, they would come last, and one
# process would wait minutes for the other.
.PHONY: test
test: env ## Everything a change must pass
	@$(MAKE) --no-print-directory --jobs 3 --output-sync lint type servers
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder tests || { \
		echo "what failed is run once more, alone: a test that passes now has failed on this machine's load, and says so here"; \
		$(BIN)/python -m pytest --last-failed --last-failed-no-failures none tests; }

.PHONY: lint
lint: env ## Style, format, import contracts, YAML
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	git ls-files -z -- '*.yml' '*.yaml' | xargs -0 -r $(BIN)/yamllint --strict

.PHONY: type
type: env ## Types, strictly, tests included
	$(BIN)/mypy

.PHONY: format
format: env ## Bring the sources into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: unit
unit: env ## Tests without servers
	$(BIN)/python -m pytest -q tests/unit tests/property

# How many simulated days, and the seed of the first one.
SEEDS ?= 20
FIRST ?= 1001

# How many histories, and the seed of the first one.
HISTORIES ?= 10000

.PHONY: incidents
incidents: env ## Simulate days with every kind of incident: do the default rules see them, and nothing else? (SEEDS=20 FIRST=1001)
	$(BIN)/python -m bench.incidents --seeds $(SEEDS) --first $(FIRST)

.PHONY: weeks
weeks: env ## Simulate weeks with an outage in the last: do the rules with a baseline by hour of the week see it, and nothing else?
	$(BIN)/python -m bench.weeks $(ARGS)

.PHONY: simulate-histories
simulate-histories: env ## Fold seeded histories with crashes in any order and compare (HISTORIES=10000 SEED=1)
	$(BIN)/python -m tests.simulation $(HISTORIES) $(or $(SEED),1)

.PHONY: integration
integration: servers ## Tests against real servers on free ports
	$(BIN)/python -m pytest -q -n $(TEST_PROCESSES) --dist loadfile tests/integration tests/acceptance

CYCLES ?= 25
SEED ?=
FAULTS ?=

.PHONY: chaos
chaos: servers ## Faults on the real chain, recounted afterwards (CYCLES=200 SEED=1; LONG=1: Redis away for a minute)
	$(BIN)/python -m tests.chaos --cycles $(CYCLES) --seed "$(SEED)" --faults "$(FAULTS)" $(if $(LONG),--long)

.PHONY: chaos-bugs
chaos-bugs: servers ## Known bugs, planted: each must be caught
	$(BIN)/python -m tests.chaos.planted

.PHONY: bench-quick
bench-quick: servers ## Print throughput, latency and freshness of this machine
	$(BIN)/python -m bench.quick

.PHONY: compiled
compiled: env ## Compile the hot path; run with PYTHONPATH=.state/compiled PYTHONSAFEPATH=1 (needs a C compiler)
	$(BIN)/python -m deploy.compiled

.PHONY: bench
bench: servers ## Compare with Kafka Streams, Flink, Quix, Bytewax, Faust and a plain loop (ARGS=--quick for a short form)
	$(BIN)/python -m bench.compare $(ARGS)

.PHONY: bench-scale
bench-scale: servers ## Measure what a customer costs, from 1,000 to 5,000,000 of them (ARGS=--quick for a short form)
	$(BIN)/python -m bench.scale $(ARGS)

.PHONY: soak
soak: servers ## Run 60 days of event time in 20 minutes and see whether anything grows (ARGS=--quick for a short form)
	$(BIN)/python -m bench.soak $(ARGS)

.PHONY: up
up: env ## Start the servers on their usual ports and leave them running
	$(BIN)/python -m deploy.local up

.PHONY: down
down: env ## Stop the servers that `make up` started
	$(BIN)/python -m deploy.local down

.PHONY: dashboards
dashboards: env ## Generate grafana/dashboards from grafana/src
	$(BIN)/python -m grafana.src

.PHONY: lock
lock: $(UV) ## Write the hash-locked requirements from pyproject.toml (UPGRADE=--upgrade for newer versions)
	$(COMPILE) $(UPGRADE) pyproject.toml -o requirements.txt
	$(COMPILE) $(UPGRADE) --group dev --extra analysis --extra sinks pyproject.toml -c requirements.txt -o requirements-dev.txt
	$(COMPILE) $(UPGRADE) --group build -o requirements-build.txt
	$(COMPILE) $(UPGRADE) --extra sinks pyproject.toml -c requirements-dev.txt -o requirements-image.txt
	$(COMPILE) $(UPGRADE) --group compile pyproject.toml -c requirements-dev.txt -o requirements-compile.txt
	for rival in plain quix bytewax faust; do \
		$(COMPILE) bench/rivals/requirements-$$rival.in -o bench/rivals/requirements-$$rival.txt; done

.PHONY: clean
clean: ## Stop the local servers, delete their data, the environment and the caches
	@if test -x $(BIN)/python; then $(BIN)/python -m deploy.local clean; fi
	rm -rf .venv .state .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
