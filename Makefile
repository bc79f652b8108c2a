# make demo: the encoder that comes with Pegbox, tuned on speech that it makes itself.   make test: lint, types, tests.
# Both set everything up themselves in .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint types clean
.DEFAULT_GOAL := test

# torch is installed first and pinned, so that a build without CUDA satisfies it where one is at hand.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test,bench,demo,hub]"
	@touch $@

demo: .venv/ready
	$(BIN)/pegbox demo

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/ready
	$(BIN)/mypy

test: lint types
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
