# Each target makes a virtual environment, or updates it when pyproject.toml or the constraints change.
PYTHON ?= python3
SUITE = $(addprefix tests/test_,definition.py gradients.py numerics.py errors.py laws.py)
INSTALL = install --quiet --disable-pip-version-check --constraint

.PHONY: demo test test-slow test-laws test-alone-jax test-alone-torch test-frameworks
.PHONY: test-oldest test-oldest-torch test-nightly-jax test-nightly-torch
.PHONY: lint types docs dist constraints bench evidence clean
demo: .venv/demo
	.venv/bin/python examples/train_refocus_flax.py

test: .venv/test
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest --complete -n 2  # two workers, one core each

# Tests that take long and rarely fail on their own.
test-slow: .venv/test
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest --complete -n 2 -m slow

# Laws, on examples that Hypothesis draws anew.
test-laws: .venv/test
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n 2 tests/test_laws.py --hypothesis-profile "drawn at random"

# The part of the suite that needs one framework, where the other is not installed.
test-alone-jax test-alone-torch: test-alone-%: .venv-alone-%/installed
	OMP_NUM_THREADS=1 .venv-alone-$*/bin/python -m pytest -n 2

# The examples in docs/frameworks.md, with the real packages.
test-frameworks: .venv-frameworks/installed
	OMP_NUM_THREADS=1 .venv-frameworks/bin/python -m pytest -n 2 tests/test_frameworks.py -m frameworks

# JAX's part of the suite, on the oldest supported releases.
test-oldest: .venv-oldest-jax/installed
	OMP_NUM_THREADS=1 .venv-oldest-jax/bin/python -m pytest -n 2 $(SUITE) tests/test_transforms_jax.py -k jax

# Both parts on pre-releases from the package index and nightly ones from PIP_EXTRA_INDEX_URL: expected to fail now and
# then.
test-nightly-jax: .venv-nightly-jax/installed
	OMP_NUM_THREADS=1 .venv-nightly-jax/bin/python -m pytest -n 2 $(SUITE) tests/test_transforms_jax.py -k jax

test-nightly-torch: .venv-nightly-torch/installed
	OMP_NUM_THREADS=1 .venv-nightly-torch/bin/python -m pytest -n 2 $(SUITE) tests/test_transforms_torch.py tests/test_module.py -k torch

# PyTorch's part. Not in .ci/run: on Linux it downloads 5.5 GB of CUDA packages.
test-oldest-torch: .venv-oldest-torch/installed
	OMP_NUM_THREADS=1 .venv-oldest-torch/bin/python -m pytest -n 2 $(SUITE) tests/test_transforms_torch.py tests/test_module.py -k torch

lint: .venv/test
	.venv/bin/ruff check
	.venv/bin/ruff format --check

types: .venv/test
	.venv/bin/mypy
	.venv/bin/basedpyright --pythonpath .venv/bin/python

docs: .venv/docs
	.venv/bin/mkdocs build --strict

# The sdist, and the wheel made from it.
dist: .venv/test
	rm -rf dist
	.venv/bin/python -m build
	.venv/bin/twine check --strict dist/*
	.venv/bin/check-wheel-contents dist/*.whl

# The newest releases of everything that the targets above install, except PyTorch, which stays.
constraints: | .venv-constraints/bin/pip
	grep '^torch==' .ci/constraints.txt > .venv-constraints/kept.txt
	.venv-constraints/bin/pip $(INSTALL) .venv-constraints/kept.txt --upgrade --upgrade-strategy eager '.[test,docs,frameworks]'
	{ sed -n '/^#/p' .ci/constraints.txt; .venv-constraints/bin/pip list --format freeze --exclude blursim --exclude pip \
		| grep --invert-match --extended-regexp '^(cuda|nvidia|triton)' | sed 's/+.*//' | sort --ignore-case; } > .venv-constraints/new.txt
	mv .venv-constraints/new.txt .ci/constraints.txt

bench: .venv/bench
	.venv/bin/python benchmarks/speed.py

evidence: .venv/bench
	.venv/bin/python -m benchmarks.study.training --quick

clean:
	rm -rf .venv .venv-* build dist site *.egg-info examples/output

.venv/demo: EXTRAS = examples-jax
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

# As the README says, then what the tests need.
.venv-alone-%/installed: pyproject.toml .ci/constraints.txt | .venv-alone-%/bin/pip
	@echo "Installing .[$*] into $(@D); this takes a few minutes the first time"
	$(@D)/bin/pip $(INSTALL) .ci/constraints.txt --editable '.[$*]'
	$(@D)/bin/pip $(INSTALL) .ci/constraints.txt flatbuffers hypothesis pytest pytest-xdist scikit-image
	@touch $@

.venv-oldest-%/installed: .ci/oldest-%.txt pyproject.toml .ci/constraints.txt | .venv-oldest-%/bin/pip
	@echo "Installing the releases in $< into $(@D); this takes a few minutes the first time"
	sed 's/==.*/==/' $< | grep --invert-match --fixed-strings --file=- .ci/constraints.txt | cat $< - > $(@D)/constraints.txt
	$(@D)/bin/pip $(INSTALL) $(@D)/constraints.txt --editable '.[examples-jax,examples-torch]' flatbuffers hypothesis pytest pytest-xdist scipy
	@touch $@

.venv-nightly-%/installed: pyproject.toml | .venv-nightly-%/bin/pip
	$(@D)/bin/pip install --quiet --pre --upgrade --editable '.[examples-jax,examples-torch]' flatbuffers hypothesis pytest pytest-xdist scipy
	@touch $@

.PRECIOUS: %/bin/pip
%/bin/pip:
	$(PYTHON) -m venv $*
