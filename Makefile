# Every task of a checkout. `make` alone lists them; CONTRIBUTING.md explains them.
#
# PYTHON, VENV and WORKERS may be set: `make test VENV=.venv-3.13 PYTHON=python3.13 WORKERS=4`.
# TESTS and BENCH narrow a run: `make test TESTS='tests/core -k retry'`, `make bench BENCH='drain latency --quick'`.
# SOAK are the arguments of `make soak`. VERSION names a release for `make release-prepare`; SKIP_TESTS=1 leaves out its
# `make check`, for when that has passed on the same commit.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
TESTS ?=
BENCH ?=
SOAK ?=
VERSION ?=
SKIP_TESTS ?=

RUN := $(VENV)/bin/python
READY := $(VENV)/.ready

# Bundled pyright and node are what the lock pins: do not ask the network for newer ones.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test check static fix format lint types layers sync-ledger sync-ledger-check sql-lock sql-lock-check schema-dump docs bench soak smoke release-check release-prepare lock clean FORCE

help: ## List the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' Makefile

# A stamp: while it is newer than what the environment was made from, a run costs nothing. It is made again when
# the interpreter behind the environment is gone.
$(READY): pyproject.toml requirements/dev.lock tools/setup_venv.py $(if $(wildcard $(RUN)),,FORCE)
	@$(PYTHON) tools/setup_venv.py $(VENV)
	@touch $@

setup: $(READY) ## Make the environment (.venv) with everything that development needs
	@echo "Ready: $(VENV)"

demo: $(READY) ## Run the demonstration against an embedded PostgreSQL
	@$(RUN) -m demo

test: $(READY) ## Run the tests, in random order (TESTS='path -k name' narrows)
	$(RUN) -m pytest -n $(WORKERS) --dist worksteal $(TESTS)

check: static test ## Everything a change must pass

static: format lint types layers sync-ledger-check sql-lock-check docs ## The checks without the tests

fix: $(READY) ## Repair what ruff can repair, and format; `make lint` has the rest
	$(RUN) -m ruff check --fix --exit-zero
	$(RUN) -m ruff format

format: $(READY) ## Check the format
	$(RUN) -m ruff format --check

lint: $(READY) ## Check the code with ruff
	$(RUN) -m ruff check

types: $(READY) ## Check the types with pyright, strict
	$(RUN) -m pyright --project pyproject.toml --pythonpath $(RUN)

layers: $(READY) ## Check that packages import only what is below them
	$(VENV)/bin/lint-imports --no-logo

sync-ledger: $(READY) ## Write the blocking ledger from the asyncio one
	$(RUN) -m tools.sync_ledger

sync-ledger-check: $(READY) ## Check that the blocking ledger is current
	$(RUN) -m tools.sync_ledger --check

sql-lock: $(READY) ## Describe every SQL file against PostgreSQL and write the lock
	$(RUN) -m tools.sql_lock

sql-lock-check: $(READY) ## Check that the SQL lock is current
	$(RUN) -m tools.sql_lock --check

schema-dump: $(READY) ## Write the dump of the migrated schema
	$(RUN) -m tools.schema_dump

docs: $(READY) ## Build the documentation into build/docs; warnings are errors
	$(RUN) -m sphinx --fail-on-warning --keep-going --quiet docs build/docs

bench: $(READY) ## Run the benchmarks (BENCH='part ... --quick' narrows)
	$(RUN) -m benchmarks $(BENCH)

soak: $(READY) ## Work through random faults for minutes (SOAK='--minutes 1 --jobs 20000 --seed 7', or '--races 10000')
	$(RUN) -m tests.soak $(SOAK)

smoke: $(READY) ## Install the built package elsewhere, and run a host project with it
	$(RUN) -m tools.release smoke

release-check: $(READY) ## Check that this commit can be released, and build it into dist
	$(RUN) -m tools.release check

release-prepare: $(READY) ## Make the changes of a release (VERSION=0.2.0; SKIP_TESTS=1)
	$(RUN) -m tools.release prepare $(if $(SKIP_TESTS),--skip-tests) "$(VERSION)"

lock: $(READY) ## Resolve requirements/dev.lock again with the newest versions
	@command -v uv >/dev/null || $(PYTHON) -m pip --python $(RUN) install --quiet uv
	PATH="$$PATH:$(VENV)/bin" uv pip compile pyproject.toml --extra dev --quiet --upgrade --universal \
		--python-version 3.11 --fork-strategy fewest --generate-hashes --custom-compile-command "make lock" \
		--output-file requirements/dev.lock

clean: ## Remove the environment and everything that was built
	rm -rf $(VENV) build dist .hypothesis .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +
