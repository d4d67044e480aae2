# make demo | drama | test | check | chaos | soak | regress | figures.  Everything lands in .venv and out/; `make clean` removes both.
# TORCH=cpu takes PyTorch's own CPU-only builds (much smaller, needs access to PyTorch's server).

PYTHON ?= python3
TORCH  ?= default
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check

ifeq ($(TORCH),cpu)
TORCH_INDEX := --index-url https://download.pytorch.org/whl/cpu
endif

.PHONY: help venv venv-dev demo drama test format lint types layers regress check chaos soak figures clean

help:
	@sed -n '1,2s/^# //p' Makefile

venv: $(VENV)/.installed
venv-dev: $(VENV)/.installed-dev

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "streamvis needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { rm -rf $(VENV); echo "cannot make $(VENV); on Debian and Ubuntu: apt install python3-venv"; exit 1; }

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "Installing streamvis into $(VENV) (PyTorch is large: one to a few minutes) ..."
ifdef TORCH_INDEX
	@$(PIP) install --quiet torch torchvision $(TORCH_INDEX)
endif
	@$(PIP) install --quiet --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Installing the test and development tools ..."
	@$(PIP) install --quiet --editable '.[dev]'
	@touch $@

demo: venv
	$(BIN)/streamvis run pipelines/av_4cam.yaml --clock replay --record out/recordings --summary out/av_4cam.json

drama: venv
	$(BIN)/python examples/drama

test: venv-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile  # most of their time they wait

format: venv-dev
	$(BIN)/ruff format --check .

lint: venv-dev
	$(BIN)/ruff check .

types: venv-dev
	$(BIN)/mypy

layers: venv-dev
	$(BIN)/lint-imports

regress: venv-dev
	$(BIN)/streamvis regress tests/regress/street

check: format lint types layers regress test

chaos: venv-dev
	$(BIN)/python -m pytest -m matrix --long --matrix

soak: venv-dev
	$(BIN)/python benchmarks/soak.py --minutes 60 --out out/soak

figures: venv-dev
	$(BIN)/python benchmarks/figures.py --write README.md

clean:
	rm -rf $(VENV) out build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
