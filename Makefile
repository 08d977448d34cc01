# Two commands: `make up` sets everything up and starts; `make test` sets everything up and tests.

PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
UV     := 0.13.8

.DEFAULT_GOAL := help
.PHONY: help up down test check lint types audit lock bench compare clean

help:  ## Show these targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

up: $(VENV)/.up  ## Set up, start everything on embedded Postgres and Redis, answer a first question
	@$(BIN)/penstock up $(ARGS)

down:  ## Stop everything
	@$(BIN)/penstock down

test: $(VENV)/.dev  ## Set up, check style, types and floors, run all tests with coverage
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash scripts/test.sh $(ARGS)

check: $(VENV)/.dev  ## Style, types and floors only
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

audit: $(VENV)/.dev  ## Report known vulnerabilities in the locked dependencies
	@$(BIN)/pip-audit --strict --require-hashes --disable-pip -r requirements/dev.lock

lock: $(VENV)/.dev  ## Renew the locked dependencies
	@bash scripts/lock.sh "$(BIN)/uv"

bench: $(VENV)/.dev  ## Measure each path in both profiles
	@$(BIN)/python -m load.bench_stages $(ARGS)

compare: $(VENV)/.dev  ## Measure it beside LiteLLM and Portkey, which are installed in folders of their own
	@$(BIN)/python -m load.compare $(ARGS)

clean:  ## Remove the virtual environment and caches (not PENSTOCK_HOME)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(VENV)/bin/uv:
	@PYTHON="$(PYTHON)" VENV="$(VENV)" UV_VERSION="$(UV)" bash scripts/venv.sh

$(VENV)/.up: $(VENV)/bin/uv requirements/up.lock pyproject.toml
	@echo "Installing what Penstock needs to run"
	@VIRTUAL_ENV="$(VENV)" $(BIN)/uv pip install --no-deps --require-hashes --compile-bytecode -r requirements/up.lock
	@VIRTUAL_ENV="$(VENV)" $(BIN)/uv pip install --no-deps -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.up requirements/dev.lock
	@echo "Installing what its tests need"
	@VIRTUAL_ENV="$(VENV)" $(BIN)/uv pip install --no-deps --require-hashes --compile-bytecode -r requirements/dev.lock
	@touch $@
