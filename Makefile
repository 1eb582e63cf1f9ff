# make run    sets everything up, then measures the selection function on the built-in survey
# make test   sets everything up, then runs all tests
# Needs only Python >= 3.11, git and make: uv is installed inside .venv, and the locked packages by uv.
PYTHON ?= python3
PAGES ?= build/docs
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export DO_NOT_TRACK := 1

.DEFAULT_GOAL := help
.PHONY: help setup run repro test chaos lint format viz site docs bench lock audit clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 10

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "skytrace needs Python >= 3.11; $(PYTHON) is $$($(PYTHON) --version). Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip sync --quiet --compile-bytecode requirements.lock
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(READY)

setup: $(READY)  ## make .venv and install the locked packages

run: $(READY)  ## the main job: injection_recovery on the built-in survey; reuses what is there
	$(BIN)/kedro run --pipelines injection_recovery --only-missing-outputs

repro: $(READY)  ## the same under DVC: remakes whatever a change of code, parameters or packages put out of date
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dvc repro

test: $(READY)  ## all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

chaos: $(READY)  ## runs killed with SIGKILL at random moments and run again; SKYTRACE_CHAOS_KILLS=24 SKYTRACE_CHAOS_SEED=1
	SKYTRACE_CHAOS_KILLS=$${SKYTRACE_CHAOS_KILLS:-24} $(BIN)/python -m pytest -s tests/chaos

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

viz: $(READY)  ## browse the lineage at http://127.0.0.1:4141
	$(BIN)/kedro viz run

site: $(READY)  ## the lineage as a static site in build/, which needs no network
	$(BIN)/kedro viz build --include-hooks --include-previews
	$(BIN)/python -m skytrace.reporting.lineage_site build

docs: $(READY)  ## the documentation in build/docs, which needs no network; a warning is an error
	$(BIN)/python -m sphinx -E -W --keep-going -q -d $(PAGES).doctrees docs $(PAGES)

bench: $(READY)  ## every benchmark against its named peer; writes docs/benchmarks.md
	$(BIN)/python -m benchmarks

lock: $(READY)  ## resolve requirements.lock anew from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --upgrade -o requirements.lock

audit: $(READY)  ## known vulnerabilities of the locked packages; "Error 3" where they could not be looked up
	$(BIN)/python .ci/audit.py

clean:  ## remove .venv and caches; never data
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build
