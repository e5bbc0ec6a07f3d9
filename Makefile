# Everything runs in .venv, which the first target that needs it creates.
#   make demo    run full, midi and mini of both pipelines and list what then exists
#   make test    run the tests
#   make screenshots  take the pictures of the web UI in docs/img anew
#   make soak    run what takes long: proofs at full length, engines, how-to pages, browsers
#   make servers run the tests that talk most to the server on PostgreSQL 14 to 18
#   make deploy-test  build the image and start the compose files in containers
#   make dev     open the web UI
#   make check   lint and type checks
#   make docs    build the documentation into site/
#   make bench   measure speed, as ratios within one run
#   make clean   stop the embedded PostgreSQL and remove .venv (data stays in .data_pipeline)

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
EXTRAS := embedded flights polars test dev
# The first Python that fits, unless PYTHON names one.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	2>/dev/null && echo "$$python" && break; done)
DATA_PIPELINE_HOME ?= $(CURDIR)/.data_pipeline
DAGSTER_HOME ?= $(DATA_PIPELINE_HOME)/dagster
# Only what runs the user's pipeline knows the user's data; tests and benchmarks make their own.
HOMES := DATA_PIPELINE_HOME="$(DATA_PIPELINE_HOME)" DAGSTER_HOME="$(DAGSTER_HOME)"

# Images of Python set it; then each program that tests start would compile the project anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install demo test screenshots soak deploy-test servers dev check format bench audit docs clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11 to 3.13 found. Install one, or name it: make PYTHON=/path/to/python"; exit 1; }
	@echo "Installing into $(VENV) (half a minute to two)"
	@"$(PYTHON)" -m venv $(VENV) || { echo "Cannot create $(VENV): install the venv module of $(PYTHON) (Debian: python3-venv)"; exit 1; }
	@$(BIN)/python install.py $(EXTRAS)
	@touch $@

demo: install
	@$(HOMES) $(BIN)/data-pipeline run full midi mini
	@$(HOMES) $(BIN)/data-pipeline instances

# One process more than there are processors, as tests wait for programs that they start.
PROCESSES ?= $(shell n=$$(($$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2) + 1)); \
	echo $$((n < 4 ? n : 4)))

# Each process has a PostgreSQL server of its own; the tests of a file stay together. In the order of
# their names, the last files are of short tests, so that no process is left with a long one.
test: install
	@$(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

screenshots: install
	@$(BIN)/python -m pytest -q -m soak --screenshots data_pipeline_tests/launch/test_browser.py

soak: install
	@$(BIN)/python -m pytest -m soak data_pipeline_tests $(PYTEST_ARGS)
	@$(BIN)/python -m pytest -m hypothesis --hypothesis-profile random data_pipeline_tests $(PYTEST_ARGS)

servers: install
	@$(BIN)/python -m data_pipeline_tests.servers $(VERSIONS) -- $(PYTEST_ARGS)

# As root, with podman, buildah, runc and debootstrap.
deploy-test: install
	@$(BIN)/python -m pytest -m soak data_pipeline_tests/launch/containers $(PYTEST_ARGS)

# Started elsewhere, Dagster would warn of the dagster.yaml that it does not read.
dev: install
	@(umask 077 && mkdir -p "$(DAGSTER_HOME)") && cp dagster.yaml "$(DAGSTER_HOME)"
	@cd "$(DAGSTER_HOME)" && $(HOMES) PYTHONWARNINGS='ignore:Function `dev_command` is superseded' \
		"$(CURDIR)/$(BIN)/dagster" dev --workspace "$(CURDIR)/workspace.yaml"

check: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/mypy

format: install
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: install
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[bench]"
	@$(BIN)/python -m benchmarks

docs: install
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[docs]"
	@$(BIN)/mkdocs build --strict --quiet --site-dir site
	@echo "site/index.html"

# It asks a database of known faults on the network.
audit: install
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit
	@$(BIN)/pip-audit --local --skip-editable
	@$(BIN)/pip-audit --requirement deploy/requirements.txt --require-hashes --disable-pip

clean:
	@test ! -x $(BIN)/data-pipeline || $(HOMES) $(BIN)/data-pipeline db stop
	@rm -rf $(VENV)
