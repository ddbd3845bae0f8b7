# Everything on a machine that has only Python 3.10-3.13 and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--constraint constraints.txt --editable

.PHONY: demo test test-all lint bench docs notebooks clean

$(VENV)/.installed: setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) .
	touch $@

# What the tests need besides: TensorRT, Triton's messages, notebooks, ruff.
$(VENV)/.installed-dev: $(VENV)/.installed
	$(INSTALL) ".[dev]"
	touch $@

# Short trials, yet long enough that configurations separate: with batches of 32, six epochs of this data
# leave all of them at chance. With this seed, trials that learn and trials that do not are drawn.
demo: $(VENV)/.installed   ## tune, train, evaluate, export, serve and query on synthetic data
	$(BIN)/seqloom run sentiment --data synthetic:4000 --trials 6 --trial-epochs 4 \
		--batch-size 16 --learning-rate 0.003 --epochs 8 --seed 99

# On all cores; tests that share what is trained once stay together, see tests/conftest.py.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadscope --durations=40

test: $(VENV)/.installed-dev   ## the fast tests
	$(PYTEST) -m "not slow"

test-all: $(VENV)/.installed-dev   ## all tests, those that kill processes too
	$(PYTEST)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(VENV)/.installed-dev   ## every benchmark that needs no GPU; each also runs by itself
	for script in bucketing training training_layers training_parts sentiment ngrams export recurrent_forms windows forecast anomaly anomaly_synthetic streaming tuning search_table search_replay search_growth serving serving_steps serving_growth crf tagging tagging_speed tokens translation music keywords growth; do $(BIN)/python benchmarks/$$script.py || exit 1; done

docs: $(VENV)/.installed-dev   ## the site, in build/site; a dead link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

notebooks: $(VENV)/.installed-dev   ## executes all notebooks as they stand, into docs/notebooks; an hour
	$(BIN)/python docs/render_notebooks.py

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
