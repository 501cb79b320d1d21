# `make smoke` and `make test` work on a machine with Python 3.11 or later and make; what they need
# they install into .venv, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INPUTS ?= examples/smoke_inputs.yaml
RUN := $(BIN)/pyflyte run liger_kernel_finetuning.py benchmarking_experiment --inputs-file

.PHONY: smoke run test lint types check clean
.DEFAULT_GOAL := smoke

# On the CPU also where there is a GPU: the smoke run is the same everywhere.
smoke: $(VENV)/installed
	CUDA_VISIBLE_DEVICES= HF_HUB_OFFLINE=1 $(RUN) examples/smoke_inputs.yaml

run: $(VENV)/installed
	$(RUN) $(INPUTS)

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n auto --dist loadfile

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-dev
	$(BIN)/mypy

check: lint types test

clean:
	rm -rf build $(VENV)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than Python 3.11; name another one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: requirements.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
