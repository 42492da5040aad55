# Everything that a fresh machine needs: make demo, make test. Both set themselves up in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SBOM := sbom.cdx.json

.PHONY: help demo test soak mutants check screenshot bench format lock clean

help:
	@echo "make demo    the promise in under a minute (DEMO=forever keeps it running)"
	@echo "make test    all tests"
	@echo "make soak    an hour of kills and faults, then the other long tests (tests/README.md has shorter forms)"
	@echo "make mutants plants bugs one at a time: the tests have to find each"
	@echo "make check   types and lint"
	@echo "make bench   the README's figures (BENCH=quick for a short run)"
	@echo "make screenshot takes the README's picture of the status page"
	@echo "make format  formats the code"
	@echo "make lock    writes requirements*.txt anew"
	@echo "make sbom    writes what an installation holds, as CycloneDX, into $(SBOM)"

$(READY): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "This needs Python 3.11 or newer: install it, or say make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "This needs Python's venv module: on Debian and Ubuntu, apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

demo: $(READY)
	$(BIN)/shipper demo $(if $(filter forever,$(DEMO)),--forever)

# A file's tests stay together, so that what they share is started once.
test: $(READY)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

# SOAK_SECS: how long the kills go on. SOAK: these parts alone. SEED: what is drawn, as another run has printed it.
soak: $(READY)
	PYTHONPATH=.:tests $(BIN)/python -m soak --secs $(or $(SOAK_SECS),3600) $(if $(SOAK),--only $(SOAK)) \
		$(if $(SEED),--seed $(SEED))

mutants: $(READY)
	PYTHONPATH=.:tests $(BIN)/python -m mutants $(ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Needs the programs chromium and pngquant; takes six minutes, since the page shows that much history.
screenshot: $(READY)
	PYTHONPATH=tests/app $(BIN)/python tests/status_page/screenshot.py deploy/status-page.png

bench: $(READY)
	$(BIN)/python -m bench $(if $(BENCH),--$(BENCH))

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# uv resolves for every Python from 3.11 on at once; it is needed for this target only.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--upgrade pyproject.toml -o requirements.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--upgrade --group build -o requirements-build.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--upgrade --group dev -c requirements.txt pyproject.toml -o requirements-dev.txt

# The same lock file gives the same bytes.
sbom: $(READY)
	$(BIN)/cyclonedx-py requirements requirements.txt --pyproject pyproject.toml --output-reproducible --of JSON -o $(SBOM)

clean:
	rm -rf $(VENV) $(SBOM) .mypy_cache .ruff_cache .pytest_cache .hypothesis
