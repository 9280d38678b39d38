# The commands of this project. Every target installs what it needs into .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Spark is 600 MB: only the tests that start a cluster need it here.
WITH_SPARK := $(VENV)/.installed-spark
# Superset holds libraries below what Whalecurve needs, so it lives in an environment of its own.
VENV_BI := .venv-bi
WITH_BI := $(VENV_BI)/.installed
# A file of tests stays with one worker: its fixtures are whole runs of the pipeline. The slow files come first, by name.
PARALLEL := --numprocesses auto --dist loadfile --no-loadscope-reorder
PIP := $(BIN)/python -m pip --disable-pip-version-check
# What a lock names, to the byte, in an environment: with uv, which takes a fifth of pip's time, or with pip where uv cannot.
define locked
@$(BIN)/uv pip install --quiet --python $(1)/bin/python --no-deps --require-hashes -r $(2) || \
	$(1)/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes -r $(2)
endef

.DEFAULT_GOAL := help
.PHONY: help install run ui bi test test-fast lint format reference lock clean

help: ## What can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Whalecurve needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12"; exit 1; }
	@echo "Installing into $(VENV) (once; a minute or two) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@awk '/^uv==/ {found = 1} found && /#/ {exit} found' requirements.lock > $(VENV)/uv.lock
	@$(PIP) install --quiet --no-deps --require-hashes -r $(VENV)/uv.lock
	$(call locked,$(VENV),requirements.lock)
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(WITH_SPARK): $(INSTALLED) requirements-spark.lock
	@echo "Installing Spark for its tests ..."
	$(call locked,$(VENV),requirements-spark.lock)
	@touch $@

$(WITH_BI): $(INSTALLED) requirements-bi.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
		{ echo "Superset needs Python 3.11 or 3.12; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12 bi"; exit 1; }
	@echo "Installing Superset into $(VENV_BI) (once; 900 MB) ..."
	@test -x $(VENV_BI)/bin/python || $(PYTHON) -m venv $(VENV_BI)
	$(call locked,$(VENV_BI),requirements-bi.lock)
	@touch $@

install: $(INSTALLED) ## Install the locked dependencies into .venv

run: $(INSTALLED) ## Write the demo company's extracts, run every business date, publish, show the answer
	@$(BIN)/whalecurve demo
	@$(BIN)/whalecurve run

ui: $(INSTALLED) ## Open the Dagster UI on the same data
	@$(BIN)/whalecurve ui

bi: $(WITH_BI) ## Open the BI dashboards (Apache Superset) on the current release
	@$(BIN)/whalecurve bi

test: $(WITH_SPARK) lint ## Lint and run every test
	@$(MAKE) --no-print-directory $(WITH_BI) || echo "Superset cannot be installed here: the tests of its dashboards are skipped."
	@$(BIN)/python -m pytest --durations=25 $(PARALLEL)

test-fast: $(INSTALLED) ## The tests of the inner loop
	@$(BIN)/python -m pytest -m "not slow" $(PARALLEL)

lint: $(INSTALLED) ## ruff, mypy and sqlfluff, as pre-commit runs them
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/sqlfluff lint --processes 2 --disable-progress-bar dbt_project

format: $(INSTALLED) ## Let the tools put the code into form
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/sqlfluff fix --disable-progress-bar dbt_project

reference: $(INSTALLED) ## Write docs/reference anew from the code
	@$(BIN)/python -m pipelines.reference

lock: $(INSTALLED) ## Resolve the dependencies of pyproject.toml and requirements-bi.in anew into the locks
	$(BIN)/uv pip compile pyproject.toml requirements-build.in --extra dev --extra pull --extra targets --extra postgres --extra ducklake --universal --python-version 3.11 --no-strip-extras \
		--generate-hashes --no-emit-index-url --no-header --output-file requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra spark --constraint requirements.lock --universal --python-version 3.11 --no-strip-extras \
		--generate-hashes --no-emit-index-url --no-header --output-file requirements-spark.lock
	$(BIN)/uv pip compile requirements-bi.in --universal --python-version 3.11 --no-strip-extras \
		--generate-hashes --no-emit-index-url --no-header --output-file requirements-bi.lock

clean: ## Remove the environment and what runs have made
	rm -rf $(VENV) $(VENV_BI) data dbt_project/target dbt_project/logs
