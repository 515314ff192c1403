# Everything a newcomer needs: `make demo`, `make test`. The environment is made in .venv, once, and again when the pins change.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
# What pip installs as torch. With a GPU the default is right on Linux; for another build say, for example,
#   make setup TORCH="torch==2.13.0+cpu --extra-index-url https://download.pytorch.org/whl/cpu"
TORCH ?= $(shell grep '^torch==' constraints.txt)
GOLDEN_DIR ?= tests/golden/data
BIN := .venv/bin
STAMP := .venv/ready
PIP := $(BIN)/pip install -q --disable-pip-version-check
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-gpu check bench golden

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## make or update the environment in .venv

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	@# torch first and apart from the other pins, so that TORCH may name another build; one that brings its triton keeps it
	$(PIP) $(TORCH)
	apart=torch; $(BIN)/python -c 'import triton' 2>/dev/null && apart='torch|triton'; \
		grep -vE "^($$apart)==" constraints.txt > .venv/constraints.txt
	$(PIP) -c .venv/constraints.txt -e '.[dev,play]'
	@touch $@

demo: $(STAMP) ## make a video and say where it is
	$(BIN)/mg generate --output outputs/demo.mp4

test: $(STAMP) ## run the tests (CPU, about five minutes)
	$(PYTEST) -n 2 -m "not slow"

test-gpu: $(STAMP) ## what ships, on a GPU (under eight minutes on one H200)
	$(BIN)/python -m tests.gpu

check: $(STAMP) ## lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP) ## measure speed on this machine
	$(BIN)/mg bench
	$(BIN)/wan22 bench --peers

golden: $(STAMP) ## equality with the official implementations; GOLDEN_DIR=folder for other files
	GOLDEN_DIR=$(GOLDEN_DIR) $(PYTEST) tests/golden
