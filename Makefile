# mailwitness: run `make` to see what can be made.

VENV       := .venv
BIN        := $(VENV)/bin
SAMPLE     := src/mailwitness/samples/demo
DEMO_CASE  := .demo-case
KQL_CHECK  := tools/kql_check
BENCH      := bench
# pip says nothing unless something is wrong.
PIP        := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input

# The first Python that is new enough; `make PYTHON=/path/to/python` chooses another.
IS_NEW     := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON     ?= $(shell for python in python3.11 python3 python3.12 python3.13 python3.14; do \
                 "$$python" -c '$(IS_NEW)' 2>/dev/null && { echo "$$python"; break; }; done)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help ledger-histories demo test check format lint types layers spelling content queries docs-fresh \
        coverage coverage-page coverage-fresh bench golden docs tables lock package clean

help: ## print this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z][a-z-]*:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---------------------------------------------------------------- the environment

$(BIN)/python:
	@test -n "$(PYTHON)" || { \
	  echo "mailwitness needs Python 3.11 or newer with its venv module, and found none."; \
	  echo "Install it (Debian, Ubuntu: python3-venv), or name one: make PYTHON=/path/to/python3.11"; exit 2; }
	@echo "Creating $(VENV) with $(PYTHON)."
	@"$(PYTHON)" -m venv $(VENV)

# A stamp is newer than its lock when the environment holds exactly what the lock says.
$(VENV)/run.stamp: requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing the packages that requirements.lock pins."
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock $(VENV)/run.stamp
	@echo "Installing the packages that requirements-dev.lock pins."
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

$(KQL_CHECK)/node_modules/.stamp: $(KQL_CHECK)/package.json
	@if command -v npm >/dev/null; then \
	  (cd $(KQL_CHECK) && npm install --no-package-lock --no-audit --no-fund --silent) && touch $@ || true; fi

# ---------------------------------------------------------------- using it

demo: $(VENV)/run.stamp ## investigate the bundled sample and say where the report is
	@rm -rf $(DEMO_CASE)
	@$(BIN)/mailwitness investigate $(SAMPLE) --case $(DEMO_CASE); outcome=$$?; \
	if [ $$outcome -ne 1 ] || [ ! -s $(DEMO_CASE)/report.html ]; then \
	  echo "The sample holds an attack, so the outcome should be 1 (found) and a report; it is $$outcome."; exit 2; fi
	@echo "Report: file://$(CURDIR)/$(DEMO_CASE)/report.html"

# ---------------------------------------------------------------- changing it

test: $(VENV)/dev.stamp ## run all tests
	@$(BIN)/python -m pytest -q -n auto $(ARGS)

check: format lint types layers spelling content queries docs-fresh coverage-fresh ## run every check that is not a test

format: $(VENV)/dev.stamp
	@$(BIN)/ruff format --quiet --check --output-format concise . || { echo "format: run $(BIN)/ruff format"; exit 1; }

lint: $(VENV)/dev.stamp
	@$(BIN)/ruff check --quiet --output-format concise .

types: $(VENV)/dev.stamp
	@$(BIN)/mypy --no-error-summary

layers: $(VENV)/dev.stamp
	@$(BIN)/lint-imports --no-cache >$(VENV)/layers.txt || { cat $(VENV)/layers.txt; exit 1; }

spelling: $(VENV)/dev.stamp
	@$(BIN)/codespell

content: $(VENV)/dev.stamp
	@$(BIN)/python -m mailwitness.content_check
	@$(BIN)/python tools/make_tables.py --check

queries: $(VENV)/dev.stamp $(KQL_CHECK)/node_modules/.stamp
	@$(BIN)/python tools/check_kql.py

docs-fresh: $(VENV)/dev.stamp
	@$(BIN)/python tools/docs.py --check

translations-fresh: $(VENV)/dev.stamp
	@$(BIN)/python tools/translate.py --check

translations: $(VENV)/dev.stamp ## translate all shipped queries, so that a first run need not
	@$(BIN)/python tools/translate.py

coverage: $(VENV)/dev.stamp ## run all tests and say which lines they miss
	@$(BIN)/coverage run -m pytest -q $(ARGS)
	@$(BIN)/coverage report

coverage-page: $(VENV)/dev.stamp ## replay all scenarios and write docs/coverage.md and .html
	@$(BIN)/python tools/coverage.py

coverage-fresh: $(VENV)/dev.stamp
	@$(BIN)/python tools/coverage.py --check

bench: $(VENV)/dev.stamp ## measure speed and memory against merely reading the file
	@$(BIN)/python -m $(BENCH) $(ARGS)

ledger-histories: $(VENV)/dev.stamp ## try the message ledger on 1,000 generated histories and forged ids
	@MAILWITNESS_HISTORIES=$${MAILWITNESS_HISTORIES:-1000} $(BIN)/python -m pytest -q -n 0 tests/proof/test_ledger_properties.py tests/proof/test_ledger_ids.py $(ARGS)

golden: $(VENV)/dev.stamp ## rewrite the golden files; review the difference before committing
	@MAILWITNESS_WRITE_GOLDEN=1 $(BIN)/python -m pytest -q -n auto -k golden $(ARGS)
	@git --no-pager diff --stat -- tests

docs: $(VENV)/dev.stamp ## write the generated pages of docs/reference
	@$(BIN)/python tools/docs.py

tables: $(VENV)/dev.stamp ## write content/tables from the public schemas (ARGS: their folder)
	@$(BIN)/python tools/make_tables.py $(ARGS)

lock: $(VENV)/dev.stamp ## write both locks again (ARGS=--upgrade for newer versions)
	@$(PIP) install pip-tools
	@$(BIN)/python tools/make_locks.py $(ARGS)

package: $(VENV)/run.stamp ## build the wheel into dist/
	@$(BIN)/python -m hatchling build -t wheel

clean: ## remove the environment, caches and the demo case
	@rm -rf $(VENV) $(DEMO_CASE) $(KQL_CHECK)/node_modules dist build .bench .coverage htmlcov \
	  .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
