# Each target makes the virtual environment .venv, or completes it when pyproject.toml or the constraints change.
PYTHON ?= python3

.PHONY: demo test lint types bench evidence clean
demo: .venv/demo
	.venv/bin/python examples/train_deblur_flax.py

test: .venv/test
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n 2  # two workers, a core for each

lint: .venv/test
	.venv/bin/ruff check
	.venv/bin/ruff format --check

types: .venv/test
	.venv/bin/mypy

bench: .venv/bench
	.venv/bin/python benchmarks/speed.py

evidence: .venv/bench
	.venv/bin/python benchmarks/training.py --quick

clean:
	rm -rf .venv build *.egg-info examples/output

.venv/demo: EXTRAS = jax,examples
.venv/test: EXTRAS = test
.venv/bench: EXTRAS = benchmarks
.venv/demo .venv/test .venv/bench: pyproject.toml .ci/constraints.txt | .venv/bin/pip
	@echo "Installing .[$(EXTRAS)] into .venv; this takes a few minutes the first time"
	.venv/bin/pip install --quiet --disable-pip-version-check --constraint .ci/constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

.venv/bin/pip:
	$(PYTHON) -m venv .venv
