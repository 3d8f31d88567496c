# Each target makes a virtual environment, or completes it when pyproject.toml or the constraints change.
PYTHON ?= python3
SUITE_OF_JAX = $(addprefix tests/test_,definition.py gradients.py numerics.py errors.py prepare.py transforms_jax.py)
INSTALL = install --quiet --disable-pip-version-check --constraint

.PHONY: demo test test-slow test-frameworks test-oldest lint types docs bench evidence clean
demo: .venv/demo
	.venv/bin/python examples/train_deblur_flax.py

test: .venv/test
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n 2  # two workers, a core for each

# What takes long and seldom fails alone.
test-slow: .venv/test
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n 2 -m slow

# The pieces of docs/frameworks.md, with the real packages.
test-frameworks: .venv-frameworks/installed
	OMP_NUM_THREADS=1 .venv-frameworks/bin/python -m pytest -n 2 tests/test_frameworks.py -m frameworks

# JAX's part of the suite, on the oldest releases that are supported.
test-oldest: .venv-oldest/installed
	OMP_NUM_THREADS=1 .venv-oldest/bin/python -m pytest -n 2 $(SUITE_OF_JAX) -k jax

lint: .venv/test
	.venv/bin/ruff check
	.venv/bin/ruff format --check

types: .venv/test
	.venv/bin/mypy
	.venv/bin/basedpyright --pythonpath .venv/bin/python

docs: .venv/docs
	.venv/bin/mkdocs build --strict

bench: .venv/bench
	.venv/bin/python benchmarks/speed.py

evidence: .venv/bench
	.venv/bin/python benchmarks/training.py --quick

clean:
	rm -rf .venv .venv-frameworks .venv-oldest build dist site *.egg-info examples/output

.venv/demo: EXTRAS = jax,examples
.venv/test: EXTRAS = test
.venv/bench: EXTRAS = benchmarks
.venv/docs: EXTRAS = docs
.venv/demo .venv/test .venv/bench .venv/docs: pyproject.toml .ci/constraints.txt | .venv/bin/pip
	@echo "Installing .[$(EXTRAS)] into .venv; this takes a few minutes the first time"
	.venv/bin/pip $(INSTALL) .ci/constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

.venv-frameworks/installed: pyproject.toml .ci/constraints.txt | .venv-frameworks/bin/pip
	@echo "Installing the frameworks into .venv-frameworks; this takes a few minutes the first time"
	.venv-frameworks/bin/pip $(INSTALL) .ci/constraints.txt torch
	.venv-frameworks/bin/pip $(INSTALL) .ci/constraints.txt --editable '.[frameworks]'
	@touch $@

# What oldest.txt does not name is as in constraints.txt.
.venv-oldest/installed: pyproject.toml .ci/constraints.txt .ci/oldest.txt | .venv-oldest/bin/pip
	@echo "Installing the oldest releases into .venv-oldest; this takes a few minutes the first time"
	grep --invert-match --extended-regexp '^(flax|jax|jaxlib|orbax-checkpoint)=' .ci/constraints.txt > .venv-oldest/constraints.txt
	cat .ci/oldest.txt >> .venv-oldest/constraints.txt
	.venv-oldest/bin/pip $(INSTALL) .venv-oldest/constraints.txt --editable '.[jax,torch,examples]' pytest pytest-xdist scipy
	@touch $@

%/bin/pip:
	$(PYTHON) -m venv $*
