# Everything on a machine that has only Python 3.10-3.13 and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-all lint bench clean

$(STAMP): setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable ".[dev]"
	touch $@

demo: $(STAMP)   ## tune, train, evaluate, export, serve and query on synthetic data
	$(BIN)/seqloom run sentiment --data synthetic:4000 --trials 6 --trial-epochs 2

test: $(STAMP)   ## the fast tests
	$(BIN)/python -m pytest -m "not slow"

test-all: $(STAMP)   ## all tests, those that kill processes too
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(STAMP)   ## every benchmark; each also runs by itself
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
