# Everything a newcomer needs: `make demo`. The environment is made in .venv, once, and again when the pins change; what only
# tests, linters and benchmarks need is added by the first target that needs it.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
# What pip installs as torch. With a GPU the default is right on Linux; for another build say, for example,
#   make setup TORCH="torch==2.13.0+cpu --extra-index-url https://download.pytorch.org/whl/cpu"
PINNED := $(shell grep '^torch==' constraints.txt)
TORCH ?= $(PINNED)
GOLDEN_DIR ?= tests/golden/data
BIN := .venv/bin
READY := .venv/ready
READY_DEV := .venv/ready-dev
# at a terminal pip shows what it fetches and how far it is; a log gets the steps only
PIP := $(BIN)/pip install --disable-pip-version-check $(shell [ -t 2 ] || echo -q)
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test test-gpu check lint types types-windows bench golden

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## make or update the environment in .venv: what the commands need

setup-dev: $(READY_DEV) ## and what tests, linters and benchmarks need

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" if sys.version_info < (3, 11) else 0)'
	@echo "[1/3] an environment in .venv, of $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv
	@echo "[2/3] $(firstword $(TORCH)), most of what there is to fetch"
	@if [ "$(TORCH)" = "$(PINNED)" ] && [ "$$(uname -s)" = Linux ] && ! command -v nvidia-smi > /dev/null; then \
		echo "      with CUDA, 5.2 GB; without, for a machine that has no NVIDIA GPU, 1.3 GB:"; \
		echo "      make setup TORCH=\"$(PINNED)+cpu --extra-index-url https://download.pytorch.org/whl/cpu\""; fi
	@# torch first and apart from the other pins, so that TORCH may name another build; one that brings its triton keeps it
	@$(PIP) $(TORCH)
	@apart=torch; $(BIN)/python -c 'import triton' 2>/dev/null && apart='torch|triton'; \
		grep -vE "^($$apart)==" constraints.txt > .venv/constraints.txt
	@echo "[3/3] mgcli and the smaller packages"
	@$(PIP) -c .venv/constraints.txt -e '.[play]'
	@echo "ready: .venv, $$(du -sm .venv | cut -f1) MB"
	@touch $@

$(READY_DEV): $(READY)
	@echo "adding what tests, linters and benchmarks need"
	@$(PIP) -c .venv/constraints.txt -e '.[dev,play]'
	@echo "ready: .venv, $$(du -sm .venv | cut -f1) MB"
	@touch $@

demo: $(READY) ## make a video and say where it is
	$(BIN)/mg generate --output outputs/demo.mp4
	@echo
	@echo 'To go on, in this terminal:'
	@echo '  . .venv/bin/activate'
	@echo '  mg doctor'

test: $(READY_DEV) ## run the tests (CPU, about six minutes)
	$(PYTEST) -n 2 -m "not slow"

test-gpu: $(READY_DEV) ## what ships, on a GPU (under eight minutes on one H200)
	$(BIN)/python -m tests.gpu

check: lint types types-windows ## lint, formatting and types

lint: $(READY_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY_DEV)
	$(BIN)/mypy

types-windows: $(READY_DEV)
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/windows

bench: $(READY_DEV) ## measure speed on this machine
	$(BIN)/mg bench
	$(BIN)/wan22 bench --peers

golden: $(READY_DEV) ## equality with the official implementations; GOLDEN_DIR=folder for other files
	GOLDEN_DIR=$(GOLDEN_DIR) $(PYTEST) tests/golden
