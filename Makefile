# `make demo` runs the whole job on a toy dataset, `make test` runs the tests. Both set everything up first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test coverage slow torture gpu lint docs nets newest oldest wheel setup clean

demo: $(READY)
	$(BIN)/python docs/examples/demo.py demo

test: $(READY)
	$(BIN)/python -m pytest -m "not slow" -n auto --dist worksteal

# The same tests, and a report of the lines that no test runs. This takes longer, so CI does not do it.
coverage: $(READY)
	$(BIN)/python -m pytest -m "not slow" -n auto --dist worksteal --cov

slow: $(READY)
	$(BIN)/python -m pytest -m slow

# Broken files, kills, full disks, fuzzing: docs/reliability.md. Under 15 minutes on two cores.
torture: $(READY)
	PYTHONPATH=tests $(BIN)/python -m torture

# For a machine with an NVIDIA GPU: without one, the tests fail instead of being skipped.
gpu: $(READY)
	ACTREC_EXPECT_GPU=1 $(BIN)/python -m pytest -m gpu

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation site, in site/. A broken link or anchor is an error.
docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# After a change of a net: measures all nets for the table that `actrec nets` shows, and writes docs/nets.md and
# docs/reproduce.md.
nets: $(READY)
	$(BIN)/python -m actrec.nets.catalog
	$(BIN)/python -m actrec nets --markdown > docs/nets.md
	$(BIN)/python -m actrec protocols --markdown > docs/reproduce.md

# Every command once, with the newest, or the oldest allowed, releases of all dependencies but torch and DALI.
newest oldest: $(READY)
	VENV=$(VENV) .ci/$@

# The built wheel, in an environment of its own: index, extract-frames, train, evaluate.
wheel: $(READY)
	VENV=$(VENV) .ci/wheel

setup: $(READY)

# An editable install: after a plain one, the clone's folder actrec would hide the installed package.
$(READY): setup.py constraints.txt
	@echo "Installing PyTorch and the other packages into $(VENV): this takes some minutes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info demo site
