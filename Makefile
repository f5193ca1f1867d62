# Two commands for a fresh machine: `make demo` (a search, offline) and `make test`.
#
# constraints.txt pins every package except torch, whose version and build TORCH chooses: from PyPI, torch for Linux
# comes with several GB of CUDA packages;
# `make demo TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"` takes the CPU build.
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
CONSTRAINTS ?= constraints.txt
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet $(CONSTRAINTS:%=--constraint %)

# Resolves for every Python and platform at once; torch and what comes with it is left to TORCH.
UV = .venv-uv/bin/uv
RESOLVE = $(UV) pip compile pyproject.toml --extra all --group dev --universal --python-version 3.11 --no-annotate \
	--no-header --quiet --override .venv-uv/torch.txt
WITHOUT_TORCH = grep -vE '^(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z]+)=='

.PHONY: demo test test-fast test-newest test-lowest pylate-env plaid-env hostile lint types wheel-test format golden models-page layouts-page shown notebooks lock clean

demo: $(VENV)/.demo
	$(BIN)/python examples/quickstart.py

# Two files at a time: most of a test's time is one core's. What the tests write lies in memory where there is plenty:
# on a slow disk they would mostly wait for it to be flushed.
MEMORY := $(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 8000000 { print "/dev/shm" }')
ifneq ($(MEMORY),)
test test-fast wheel-test: export PYTEST_DEBUG_TEMPROOT ?= $(MEMORY)
endif

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile

# Unit and contract tests.
test-fast: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not (slow or training or notebook or kill)"

# The same tests with the newest release of every package, and with the oldest that pyproject.toml admits (torch
# excepted). Run by hand, each in its own environment: the first to see what the next `make lock` brings.
test-newest:
	$(MAKE) test VENV=.venv-newest CONSTRAINTS=

test-lowest:
	mkdir -p build
	$(PYTHON) tools/lowest.py > build/lowest.txt
	$(MAKE) test VENV=.venv-lowest CONSTRAINTS=build/lowest.txt

# With PyLate, and sentence-transformers 5.3, which it requires: run by hand. PyLate's index is left out: fast-plaid brings
# another torch. `build/parity` has the models, and their vectors by the newest release.
pylate-env: $(VENV)/.dev .venv-pylate/.dev
	rm -rf build/parity
	$(BIN)/python tools/pylate_parity.py write build/parity
	.venv-pylate/bin/python tools/pylate_parity.py compare build/parity
	.venv-pylate/bin/python -m pytest tests/pylate tests/golden tests/contracts/test_local_collection.py

# With fast-plaid, which is compiled for one release of torch: run by hand.
plaid-env:
	$(MAKE) .venv-plaid/.dev VENV=.venv-plaid TORCH=torch==2.11.0
	.venv-plaid/bin/python -m pip install --quiet fast-plaid==1.7.0.2110
	.venv-plaid/bin/python -m pytest tests/plaid tests/test_documents.py::test_the_page_on_pylate_prints_what_it_says

# Many tries of tampered files, kills, odd texts and filters, with a table of them at the end. Run by hand.
hostile: $(VENV)/.dev
	KORAG_HOSTILE=long $(BIN)/python -m pytest -n 2 --dist load --timeout 7200 tests/hostile

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

# The contract of collections, with the models that ship, against what users install: the built wheel, away from the source tree.
wheel-test: $(VENV)/.dev
	rm -rf dist build/site
	$(BIN)/python -m build --no-isolation --outdir dist
	$(BIN)/python -m pip install --quiet --no-deps --target build/site dist/*.whl
	PYTHONPATH=build/site $(BIN)/python -P -m pytest -n 2 --dist loadfile tests/contracts/test_local_collection.py::TestShippedModels tests/core/test_wheel.py

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

golden: $(VENV)/.dev
	$(BIN)/python tests/golden/make_golden.py

# The tables of docs/models.md, from the rows of known models.
models-page: $(VENV)/.dev
	$(BIN)/python tools/models_page.py

# The tables of layouts in the same page: every case of tests/layouts, built and compared with its reference.
layouts-page: $(VENV)/.dev
	$(BIN)/python tools/layouts_page.py

shown: $(VENV)/.dev
	$(BIN)/python tools/shown.py

# The tutorials, run in a kernel, with what they print now.
notebooks: $(VENV)/.dev
	$(BIN)/python examples/execute_notebooks.py

# Pins the newest release of every package in constraints.txt.
lock: $(UV)
	(echo "# Made by \`make lock\`, for every Python and platform; torch is left to TORCH in the Makefile."; $(RESOLVE) | $(WITHOUT_TORCH)) > constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf dist build .venv .venv-newest .venv-lowest .venv-pylate .venv-plaid .venv-uv .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade "pip>=25.3"
	$(BIN)/python -m pip install --quiet $(TORCH)
	touch $@

$(VENV)/.demo: $(VENV)/.torch pyproject.toml $(CONSTRAINTS)
	$(PIP) $(CONSTRAINTS:%=--build-constraint %) -e ".[langchain]"
	touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml $(CONSTRAINTS)
	$(PIP) $(CONSTRAINTS:%=--build-constraint %) -e ".[all]" --group dev
	touch $@

.venv-pylate/.dev: pyproject.toml
	$(PYTHON) -m venv .venv-pylate
	.venv-pylate/bin/python -m pip install --quiet $(TORCH)
	.venv-pylate/bin/python -m pip install --quiet "sentence-transformers==5.3.0" "transformers==5.3.0" -e ".[all]" \
		hypothesis pytest pytest-asyncio pytest-socket pytest-timeout
	.venv-pylate/bin/python -m pip install --quiet --no-deps pylate==1.6.0
	touch $@

$(UV): Makefile
	$(PYTHON) -m venv .venv-uv
	.venv-uv/bin/pip install --quiet uv
	echo "$(firstword $(TORCH))" > .venv-uv/torch.txt
	touch $@
