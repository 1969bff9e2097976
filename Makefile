# make demo    the main job: real agents in several processes against a private server
# make test    everything that must hold, on real servers
# make lint    style, types, generated code, scripts
# make bench   ratios against peers and floors, in one run
# make chaos   the long fault runs

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := embedded,conversimple,cli
# Three workers, also on two cores: the tests wait for servers and processes for a third of their time.
WORKERS ?= 3

.PHONY: demo test lint bench chaos sync clean
.DEFAULT_GOAL := test

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "redstate needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@echo 'Installing into $(VENV) (half a minute, once)' >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	@touch $@

# Dependency groups need pip 25.1, which no Python of today bundles everywhere.
$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS),archive,postgres,schema,fast,metrics,encryption]' --group test --group lint
	@touch $@ $(VENV)/.demo

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group bench
	@touch $@

$(VENV)/.chaos: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group chaos
	@touch $@

demo: $(VENV)/.demo
	@$(BIN)/redstate demo $(ARGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/generate_sync.py --check
	$(BIN)/python tools/lint_lua.py

bench: $(VENV)/.bench
	$(BIN)/python -m bench $(ARGS)

chaos: $(VENV)/.chaos
	$(BIN)/python -m pytest -m chaos --timeout 3600 $(ARGS)

sync: $(VENV)/.dev
	$(BIN)/python tools/generate_sync.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
