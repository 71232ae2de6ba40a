# make run: pictures for one user · make test · make test-all · make lint · make docs · make demo · make clean
# Stamps in .venv record what is installed, so that a used clone starts at once.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
export PIP_DEFAULT_TIMEOUT ?= 180

.PHONY: run demo test test-all lint docs install stores clean
.DELETE_ON_ERROR:

run: .venv/.run
	$(BIN)/personagen style --out looks

demo: .venv/.run
	$(BIN)/personagen demo

# A process a core, four at most: each imports torch and diffusers anew. A file's tests share fixtures that cost seconds.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: .venv/.test .venv/.browser .venv/.checkers
	$(PYTEST) -m "not slow"

test-all: .venv/.test .venv/.browser .venv/.checkers
	$(PYTEST)

lint: .venv/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyrefly check

docs: .venv/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "the documentation is in site/index.html"

install: .venv/.run

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "personagen needs Python 3.11 or newer, $(PYTHON) is older: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv .venv

.venv/.run: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing into .venv (about 2.5 GB, a few minutes the first time)"
	$(PIP) -e '.[all]'
	@touch $@

.venv/.test: .venv/.run
	$(PIP) -e '.[all,test]'
	@touch $@

.venv/.lint: .venv/.test
	$(PIP) -e '.[all,test,lint,plot,bench]'
	@touch $@

.venv/.docs: .venv/.run
	$(PIP) -e '.[all,docs]'
	@touch $@

# The page's tests drive Debian's chromium; where it cannot be installed they skip and say so.
.venv/.browser: | .venv/bin/python
	@if command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null; then :; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  echo "installing chromium for the page's tests"; \
	  (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium) >/dev/null 2>&1 \
	    || echo "chromium could not be installed: the page's browser tests will skip"; \
	else echo "no chromium and no root with apt-get: the page's browser tests will skip"; fi
	@touch $@

# Khronos' validator of glTF files, and axe for the page; without npm the tests that ask them skip and say so.
.venv/.checkers: | .venv/bin/python
	@if ! command -v npm >/dev/null; then echo "no npm: the tests that ask Khronos' validator and axe will skip"; \
	else npm install --prefix .venv --no-save --no-package-lock --silent gltf-validator@2.0.0-dev.3.10 axe-core@4.14.1 \
	  || echo "Khronos' validator and axe could not be installed: their tests will skip"; fi
	@touch $@

# Object stores for tests, in an environment of their own; without them these tests skip and say so.
stores: .venv/.stores

.venv/.stores: tests/stores.txt | .venv/bin/python
	$(PYTHON) -m venv .venv/stores
	.venv/stores/bin/python -m pip install --quiet --disable-pip-version-check -r tests/stores.txt
	@touch $@

clean:
	rm -rf .venv dist site looks runs .pytest_cache .ruff_cache .import_linter_cache
