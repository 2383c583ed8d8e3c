# The project's tasks. `make demo` and `make test` set everything up on their first call.

PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin
STAMP := .venv/.installed
RAY_STAMP := .venv-ray/.installed
LOWEST_STAMP := .venv-lowest/.installed
DOCS_STAMP := .venv-docs/.installed
# The rooms whose tests are run with the lowest versions.
LOWEST_TESTS := $(addprefix tests/,data encoding models training scoring serving rl speed)

# Waiting threads that spin make two processes on the same cores many times slower.
export OMP_WAIT_POLICY := PASSIVE

.PHONY: help setup demo test test-slow test-ranks test-browser test-ray test-lowest check docs pictures tree clean
.DEFAULT_GOAL := help

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

setup: $(STAMP) ## make .venv and install the pinned dependencies into it

demo: $(STAMP) ## train, evaluate and report a tiny reward model
	$(BIN)/basereward demo

test: $(STAMP) ## run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadscope

test-slow: $(STAMP) ## run the tests that take more than a minute
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadscope -m slow

test-ranks: $(STAMP) ## run the tests of shards and replicas, which need the cores for themselves
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "ranks and not slow" tests/training

test-browser: $(STAMP) ## run the tests of the server's page, which need Debian's chromium
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m browser -rs tests/serving

test-ray: $(RAY_STAMP) ## run the tests with Ray, in an environment of their own
	BASEREWARD_TEST_RAY=1 OMP_NUM_THREADS=1 .venv-ray/bin/python -m pytest -m "ray and not slow"

test-lowest: $(LOWEST_STAMP) ## run the tests of the core with the lowest versions that pyproject.toml names
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest $(LOWEST_TESTS)

check: $(STAMP) ## lint, format, types, spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

docs: $(DOCS_STAMP) ## build the documentation site into build/site
	HF_HUB_OFFLINE=1 $(BIN)/python scripts/reference.py --write
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

pictures: $(STAMP) ## take the pictures of docs/images from what the demo left, in Debian's chromium
	$(BIN)/python scripts/pictures.py runs/demo

tree: $(STAMP) ## write the annotated tree into docs/architecture.md
	$(BIN)/python scripts/tree.py --write

clean: ## remove caches and build outputs
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "basereward needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "Name another one: make $(or $(MAKECMDGOALS),setup) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --python $(BIN)/python -r requirements.txt
	$(BIN)/uv pip install --python $(BIN)/python --no-deps -e .
	@touch $@

$(RAY_STAMP): $(STAMP) requirements-ray.txt
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-ray
	$(BIN)/uv pip install --python .venv-ray/bin/python -r requirements.txt -r requirements-ray.txt
	$(BIN)/uv pip install --python .venv-ray/bin/python --no-deps -e .
	@touch $@

$(LOWEST_STAMP): $(STAMP) pyproject.toml
	$(BIN)/uv venv --quiet --clear --python 3.11 .venv-lowest
	$(BIN)/uv pip install --python .venv-lowest/bin/python --resolution lowest-direct -e ".[dev]"
	@touch $@

$(DOCS_STAMP): $(STAMP) requirements-docs.txt
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-docs
	$(BIN)/uv pip install --python .venv-docs/bin/python -r requirements-docs.txt
	@touch $@
