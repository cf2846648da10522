# The front door. `make demo` and `make test` set everything up by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-full unit check format docs lock clean bench bench-peers bench-page bench-lock

help:            ## Say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

$(STAMP): requirements/dev.txt requirements/uv.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Shoal needs Python 3.11 or newer; set PYTHON=/path/to/one") if sys.version_info < (3, 11) else 0'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip sync --quiet --require-hashes requirements/dev.txt
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(STAMP)  ## Make .venv with the locked dependencies and the project

check: $(STAMP)  ## Format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright --warnings src
	$(BIN)/lint-imports --no-cache

unit: $(STAMP)   ## The fast tests: no Ray, seconds
	$(BIN)/pytest -q tests/unit tests/architecture

test: check      ## The checks and every test tier but the soaks
	$(BIN)/pytest

test-full: check ## All of it: the soaks and hundreds of kills, too (no time limit)
	$(BIN)/pytest -m "full or not full"

format: $(STAMP) ## Format and mend what can be mended
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

demo: $(STAMP)   ## Report on this source tree: the workflow of examples/repo_report, on Ray
	@start=$$(date +%s); \
	SHOAL_HOME="$${SHOAL_HOME:-$(CURDIR)/.demo/home}" $(BIN)/shoal run \
	  examples/repo_report/repo_report/workflows/report.yaml -i path="$(CURDIR)" -i out="$(CURDIR)/.demo" && \
	echo "The report is .demo/report.md. It took $$(( $$(date +%s) - start )) s."

bench: $(STAMP)  ## Measure Shoal and bare Ray side by side; BENCH="--quick", "--only fanout", "--repeat 3"
	$(BIN)/python -m benchmarks $(BENCH)

bench-peers: $(STAMP) ## Likewise, and other systems, each in an environment of its own
	$(BIN)/python -m benchmarks --peers $(BENCH)

bench-page: $(STAMP) ## Write the last result into docs/performance.md
	$(BIN)/python -m benchmarks --page

bench-lock: $(STAMP) ## Resolve the environments of other systems anew into benchmarks/peers/requirements/
	cd benchmarks/peers/requirements && for name in *.in; do \
	  override=$$(ls $${name%.in}.override 2>/dev/null); \
	  $(CURDIR)/$(BIN)/uv pip compile $$name $${override:+--override $$override} --universal --python-version 3.11 \
	    --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet --upgrade -o $${name%.in}.txt; done

docs: $(STAMP)   ## Build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lock: $(STAMP)   ## Resolve the dependencies anew into requirements/
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-annotate --no-header --quiet --upgrade -o requirements/dev.txt
	awk '/^uv==/{on=1} on{print; if(!/\\$$/) exit}' requirements/dev.txt > requirements/uv.txt

clean:           ## Remove what was built (not your SHOAL_HOME)
	rm -rf $(VENV) benchmarks/.work build dist site .pytest_cache .ruff_cache .hypothesis
