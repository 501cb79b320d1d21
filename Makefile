# `make smoke` and `make test` work on a machine with Python 3.11 or 3.12 and make; what they need
# they install into .venv, once.
PYTHON ?= python3
INPUTS ?=
CONFIRM ?=
FRESH ?=
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
UV := uv==0.13.9
RUN := $(BIN)/pyflyte run $(if $(filter-out 0 no,$(FRESH)),--overwrite-cache) liger_kernel_finetuning.py \
	benchmarking_experiment --inputs-file
CACHES := .hypothesis .mypy_cache .pytest_cache .ruff_cache
RESULTS := build/results build/runs build/failed

.PHONY: smoke run test lint types check constraints help clean clean-results
.DEFAULT_GOAL := smoke

# A misspelt setting would otherwise be passed over in silence.
SETTINGS := INPUTS PYTHON VENV CONFIRM FRESH
GIVEN := $(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(name)))
UNKNOWN := $(filter-out $(SETTINGS),$(GIVEN))
ifneq ($(UNKNOWN),)
$(error $(UNKNOWN): unknown setting; the known ones are $(SETTINGS) (see `make help`))
endif
# An environment that is there keeps its Python.
ifneq ($(filter PYTHON,$(GIVEN)),)
ifneq ($(wildcard $(BIN)/python),)
VERSION := -c 'import sys; print("%d.%d" % sys.version_info[:2])'
WANTED := $(shell $(PYTHON) $(VERSION) 2>/dev/null)
THERE := $(shell $(BIN)/python $(VERSION))
ifeq ($(WANTED),)
$(error $(PYTHON) is not there, or cannot be run)
endif
ifneq ($(WANTED),$(THERE))
$(error $(VENV) was made with Python $(THERE); give $(PYTHON) an environment of its own: VENV=.venv-$(WANTED))
endif
endif
endif
ifneq ($(filter run,$(MAKECMDGOALS)),)
ifeq ($(strip $(INPUTS)),)
$(error say which experiment to run: make run INPUTS=phi3_inputs.yaml; more are in examples/)
endif
else ifneq ($(filter INPUTS,$(GIVEN)),)
$(error only `make run` reads INPUTS: make run INPUTS=$(INPUTS))
endif

# On the CPU also where there is a GPU: the smoke run is the same everywhere.
smoke: $(VENV)/installed ## the whole experiment with a tiny model on the CPU (the default)
	CUDA_VISIBLE_DEVICES= HF_HUB_OFFLINE=1 $(RUN) examples/smoke_inputs.yaml

run: $(VENV)/installed ## an experiment on this machine: make run INPUTS=phi3_inputs.yaml
	$(RUN) $(INPUTS)

test: $(VENV)/installed-dev ## the tests, then why some were skipped and which took longest
	$(BIN)/python -m pytest -n auto --dist loadfile -rs --durations=10

lint: $(VENV)/installed-dev ## ruff, and the rules on who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo

types: $(VENV)/installed-dev ## mypy
	$(BIN)/mypy

check: lint types test ## lint, types and tests, as CI runs them

# It needs nothing of what it pins to be installed, so that a pin can be moved. Versions in the file
# are kept where they still fit; without the file, every one is the newest that fits.
constraints: | $(VENV)/bin/python ## make constraints.txt from requirements.txt, again after each edit
	$(PIP) $(UV)
	@mkdir -p build
	@if [ -f constraints.txt ]; then cp constraints.txt build; else rm -f build/constraints.txt; fi
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
		--no-header --no-annotate requirements.txt --output-file build/constraints.txt
	@{ echo '# Made from requirements.txt by `make constraints`: do not edit.'; \
	echo "# For the requirements $$(sed 's/ *#.*//; /^$$/d' requirements.txt | sha256sum | cut -c1-64)"; \
	sed "s/ ; sys_platform == 'linux'$$//; s/ and sys_platform == 'linux'$$//" build/constraints.txt; \
	} > constraints.txt

help: ## this list
	@echo 'make TARGET [SETTING=VALUE]'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1@\2/p' $(MAKEFILE_LIST) | awk -F@ '{ printf "%-16s%s\n", $$1, $$2 }'
	@echo 'Settings'
	@echo '  INPUTS        the inputs file of `make run`'
	@echo '  FRESH         1: `make run` and `make smoke` run again what an earlier run has finished'
	@echo '  PYTHON        the Python that the environment is made with (python3)'
	@echo '  VENV          the environment (.venv): another one for another PYTHON'
	@echo '  CONFIRM       yes: `make clean-results` does not ask'

clean: ## remove what can be made again: .venv, downloads, caches; results and finished runs stay
	if [ -d build ]; then find build -mindepth 1 -maxdepth 1 \
		$(foreach path,$(RESULTS),! -path $(path)) -exec rm -rf {} +; fi
	find liger_benchmark tests -name __pycache__ -prune -exec rm -rf {} +
	rm -rf $(VENV) $(CACHES) __pycache__ *.egg-info

clean-results: ## remove results and finished runs under build/, after asking
	@case "$(CONFIRM)" in \
	yes) answer=yes ;; \
	*) if [ -t 0 ]; then printf 'Remove $(RESULTS)? Their runs have to be run again. [yes/no] '; read -r answer; \
		else echo 'nobody to ask here: make clean-results CONFIRM=yes removes $(RESULTS)'; exit 1; fi ;; \
	esac; \
	if [ "$$answer" = yes ]; then rm -rf $(RESULTS); else echo 'nothing was removed'; fi

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
		{ echo "$(PYTHON) is not Python 3.11 or 3.12; name another one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: requirements.txt constraints.txt | $(VENV)/bin/python
	$(PIP) -r requirements.txt -c constraints.txt
	@touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	$(PIP) -r requirements-dev.txt -c constraints.txt
	@touch $@
