# Two commands for a fresh machine: `make demo` (the main job, offline) and `make test`.
# torch: a plain `pip install torch` on Linux brings several GB of CUDA packages; this takes one version, and
# `make demo TORCH="torch --index-url https://download.pytorch.org/whl/cpu"` the CPU build.
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
BIN = $(VENV)/bin

.PHONY: demo test lint types wheel-test format golden notebooks clean

demo: $(VENV)/.demo
	$(BIN)/python examples/quickstart.py

# Two files at a time: most of a test's time is one core's.
test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

# The same tests against what users install: the built wheel, away from the source tree.
wheel-test: $(VENV)/.dev
	rm -rf dist build/site
	$(BIN)/python -m build --outdir dist
	$(BIN)/python -m pip install --quiet --no-deps --target build/site dist/*.whl
	PYTHONPATH=build/site $(BIN)/python -P -m pytest tests/contracts tests/core/test_wheel.py

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

golden: $(VENV)/.dev
	$(BIN)/python tests/golden/make_golden.py

# The tutorials, run in a kernel, with what they print now.
notebooks: $(VENV)/.dev
	$(BIN)/python examples/execute_notebooks.py

clean:
	rm -rf dist build .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet $(TORCH)
	touch $@

$(VENV)/.demo: $(VENV)/.torch pyproject.toml
	$(BIN)/python -m pip install --quiet -e ".[langchain]"
	touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml
	$(BIN)/python -m pip install --quiet -e ".[all]" --group dev
	touch $@
