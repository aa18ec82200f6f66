# Needs Python 3.11 or newer, make and the package registry; nothing else, and no root.
# Another interpreter: make PYTHON=/path/to/python3. More words for a tool: make test ARGS="-k name".

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PEERS := .venv-peers/bin
PEERS_STAMP := .venv-peers/.installed
# The versions that are tested come first, the newest of them before the others.
PYTHONS := $(or $(PYTHON),python3.13 python3.12 python3.11 python3 python3.14 python)

# Compiled modules are kept, whatever the caller's own choice is: the tests start Python some 500 times.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup lint test test-postgresql test-pythons bounds fuzz examples mutants chaos chaos-postgresql checking soak demo bench bench-peers clean

help: ## list what make can do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## make the environment, .venv, with the pinned packages
	@echo "The environment is ready: . .venv/bin/activate"

lint: $(STAMP) ## ruff, mypy --strict and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(STAMP) ## run every test
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

test-postgresql: $(STAMP) ## run the tests of the store, the queue, the records and all crash points on PostgreSQL; make test runs the most telling of them
	SLUICE_TEST_BACKEND=postgresql $(BIN)/python -m pytest -n auto --dist worksteal \
		tests/integration tests/acceptance/faults/test_crash_points.py tests/acceptance/faults/test_convergence.py $(ARGS)

test-pythons: ## run every test on each Python of this machine, in an environment of its own
	@.ci/pythons | while read -r version python; do \
		echo "== Python $$version"; \
		$(MAKE) --no-print-directory test VENV=.venv-$$version PYTHON="$$python" </dev/null || exit; \
	done

bounds: $(STAMP) ## install as people do, with the newest and the oldest versions allowed; demo, and part of the tests
	@.ci/installed newest $(ARGS)
	@.ci/installed oldest $(ARGS)

chaos: $(STAMP) ## kill everything at random under load, and look whether a record is lost or doubled
	$(BIN)/python -m tests.chaos.chaos $(ARGS)

chaos-postgresql: $(STAMP) ## two cuts of the same files to 4 workers on PostgreSQL, 20 times; ARGS=--kill: its server dies in mid-load
	$(BIN)/python -m tests.chaos.many_workers $(ARGS)

checking: $(STAMP) ## ask `store check` again and again beside workers, loader and replays: nothing may be accused
	$(BIN)/python -m tests.chaos.checking $(ARGS)

soak: $(STAMP) ## ten minutes of load and kills, and look whether anything grows
	$(BIN)/python -m tests.chaos.soak $(ARGS)

fuzz: $(STAMP) ## throw random input at the readers and the judge, for ten minutes
	$(BIN)/python -m tests.fuzz $(or $(ARGS),--minutes 10)

examples: $(STAMP) ## run the tests with random examples, with 20 times as many, new ones each time
	EXAMPLES=$(or $(EXAMPLES),20) $(BIN)/python -m pytest -n auto --dist worksteal -m hypothesis $(ARGS)

mutants: $(STAMP) ## take one mechanism after the other out, and show which test notices
	$(BIN)/python -m tests.mutants $(ARGS)

# In a home of its own, with nobody's Redis, database or settings.
# On PostgreSQL: make demo DATABASE=postgresql.
demo: $(STAMP) ## real data from a file to the table, and what became of it
	@unset REDIS_URL DATABASE_URL $$(env | sed -n 's/^\(SLUICE_[A-Za-z0-9_]*\)=.*/\1/p'); \
	PATH="$(CURDIR)/$(BIN):$$PATH"; SLUICE_HOME=$$(mktemp -d); export PATH SLUICE_HOME; \
	trap 'worker down >/dev/null 2>&1; [ "$(DATABASE)" != postgresql ] || python -m tests.postgresql stop "$$folder"; \
		rm -rf "$$SLUICE_HOME"' EXIT; \
	trap 'exit 130' INT; trap 'exit 143' TERM; \
	if [ "$(DATABASE)" = postgresql ]; then \
		folder=$$(python -m tests.postgresql start) || exit; \
		export DATABASE_URL="postgresql+psycopg://postgres@/postgres?host=$$folder"; \
	fi; \
	run() { echo "$$ $$*"; "$$@" || exit; echo; }; \
	run producer enqueue data/earthquakes.json --source usgs; \
	run worker up --burst; \
	run store report; \
	run store letters; \
	run store lineage ci37868143; \
	run store check

bench: $(STAMP) ## measure throughput and memory
	$(BIN)/python benchmarks/bench.py $(ARGS)

bench-peers: $(PEERS_STAMP) ## do the same job with a loop, dlt, Celery, Dramatiq and RQ, in .venv-peers
	$(PEERS)/python benchmarks/peers.py $(ARGS)

clean: ## remove the environments and the caches; .sluice, your data, stays
	rm -rf .venv .venv-* build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find producer worker store tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment that does not run, or was moved here from elsewhere, is made again.
made-for = $(shell $(1)/bin/python -c "" 2>/dev/null && cat $(1)/.installed 2>/dev/null)
ifneq "$(call made-for,$(VENV))" "$(CURDIR)"
.PHONY: $(STAMP)
endif
ifneq "$(call made-for,.venv-peers)" "$(CURDIR)"
.PHONY: $(PEERS_STAMP)
endif

$(STAMP): pyproject.toml constraints.txt
$(STAMP): PACKAGES = --constraint constraints.txt --editable '.[dev]'

$(PEERS_STAMP): pyproject.toml constraints.txt benchmarks/peers-constraints.txt
$(PEERS_STAMP): PACKAGES = --constraint constraints.txt --constraint benchmarks/peers-constraints.txt \
	--editable '.[embedded]' psutil 'celery[redis]' 'dramatiq[redis]' 'dlt[sqlalchemy,parquet]'

$(STAMP) $(PEERS_STAMP):
	@PYTHONS="$(PYTHONS)" .ci/environment $(@D) $(PACKAGES)
	@$(@D)/bin/python -c 'from worker.queue.server import server_program; print(server_program.describe())'
