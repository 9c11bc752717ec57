# `make demo` runs the main job on a toy dataset, `make test` the tests. Both set everything up first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test slow gpu lint setup clean

demo: $(READY)
	$(BIN)/python docs/examples/demo.py demo

test: $(READY)
	$(BIN)/python -m pytest -m "not slow"

slow: $(READY)
	$(BIN)/python -m pytest -m slow

# On a machine with an NVIDIA GPU: fails instead of skipping where there is none.
gpu: $(READY)
	ACTREC_EXPECT_GPU=1 $(BIN)/python -m pytest -m gpu

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: $(READY)

# Editable: from a plain install, the clone's own ./actrec would hide the installed one.
$(READY): setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info demo
