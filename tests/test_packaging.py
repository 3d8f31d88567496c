"""Each package stands on `blursim` and its framework alone, and the wheel holds these three and nothing else."""

import ast
import inspect
import os
import pydoc
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import typing
import zipfile
from pathlib import Path

import pytest
import torch
from pages import links

import blursim
import blursim_jax
import blursim_torch

ROOT = Path(__file__).parents[1]
PACKAGES = {"blursim_jax": blursim_jax, "blursim_torch": blursim_torch}
FRAMEWORKS = {"blursim_jax": {"jax", "numpy"}, "blursim_torch": {"torch"}}
SOURCES = ("blursim", *PACKAGES)
packages = pytest.mark.parametrize("package", PACKAGES)

ALONE = """
import sys

class Absent:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == {other!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}")

sys.meta_path.insert(0, Absent)
{use_framework}
own = {{name.partition(".")[0] for name in sys.modules}}
{use_package}
third = {{name.partition(".")[0] for name in sys.modules}} - own - sys.stdlib_module_names
assert third == {{"blursim", {package!r}}}, f"imports {{third}}"
"""
USE_FRAMEWORK = {
    "blursim_jax": """
import jax, jax.numpy as jnp
x, y = jax.random.uniform(jax.random.key(0), (2, 8, 8))
jax.jit(jax.grad(lambda x: abs(jnp.fft.rfft2(x)).sum()))(x)
""",
    "blursim_torch": """
import torch
x, y = torch.rand(2, 8, 8).unbind()
torch.fft.rfft2(x.requires_grad_()).abs().sum().backward()
""",
}
USE_PACKAGE = {
    "blursim_jax": """
from blursim_jax import blursim
assert jax.jit(jax.grad(blursim))(x, y, 0.8).any()
""",
    "blursim_torch": """
from blursim_torch import blursim
assert torch.autograd.grad(blursim(x, y, 0.8), x)[0].any()
""",
}


def run_alone(package, tree):
    """The package of that tree takes a gradient in a fresh process, where the other framework is absent."""
    (other,) = {"jax", "torch"} - FRAMEWORKS[package]
    code = ALONE.format(
        other=other, package=package, use_framework=USE_FRAMEWORK[package], use_package=USE_PACKAGE[package]
    )
    return subprocess.run([sys.executable, "-c", code], cwd=tree, capture_output=True, text=True, check=False)


@packages
def test_package_works_without_the_other_framework_and_imports_no_third(package):
    ran = run_alone(package, ROOT)
    assert ran.returncode == 0, ran.stderr


@packages
@pytest.mark.parametrize("third", ["other", "unrelated"])
def test_an_import_too_many_would_be_noticed(package, third, tmp_path):
    for copied in ("blursim", package):
        shutil.copytree(ROOT / copied, tmp_path / copied)
    (tmp_path / "unrelated.py").touch()
    (other,) = {"jax", "torch"} - FRAMEWORKS[package]
    name = other if third == "other" else third
    with (tmp_path / package / "__init__.py").open("a") as module:
        module.write(f"\nimport {name}\n")
    assert (f"No module named {name!r}" if third == "other" else "imports {") in run_alone(package, tmp_path).stderr


@pytest.mark.parametrize("package", SOURCES)
def test_source_imports_only_its_framework_and_the_standard_library(package):
    allowed = {"blursim", package, *FRAMEWORKS.get(package, ()), *sys.stdlib_module_names}
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path.name} imports relatively"
                names = [node.module]
            assert {name.partition(".")[0] for name in names} <= allowed, f"{path.name}, line {node.lineno}"


def test_what_both_share_imports_neither_and_says_which_package_to_import():
    shared = "import sys, blursim._checks; assert not {'jax', 'numpy', 'torch', 'blursim_jax'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", shared], cwd=ROOT, check=True)
    for name in {name for package in PACKAGES.values() for name in package.__all__ if name[0].islower()} | {"BlurSim"}:
        home = re.escape("blursim_jax or blursim_torch" if hasattr(blursim_jax, name) else "blursim_torch")
        with pytest.raises(ImportError, match=f"^{name} has to be imported from {home}$"):
            exec(f"from blursim import {name}")
    with pytest.raises(AttributeError, match="the loss is in blursim_jax and in blursim_torch"):
        blursim.loss  # noqa: B018  (looked up for its error alone)
    assert all(f"from {package} import blursim " in blursim.__doc__ for package in PACKAGES)


def files(package):
    return {path.name for path in (ROOT / package).iterdir() if path.is_file()}


def test_both_packages_have_the_same_files_but_for_what_each_framework_needs():
    assert files("blursim_jax") == files("blursim_torch") - {"_module.py", "_schedules.py"}


def functions(package, file):
    tree = ast.parse((ROOT / package / file).read_text())
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


# What one framework needs and the other has no use for.
OF_ONE = {
    "blursim_jax": {"_evaluate_jvp", "_index", "_of_rank", "evaluate", "select", "unwrap"},
    "blursim_torch": {"_along", "_blend", "_distance", "_dtype", "_expand", "_is_watched", "_weighted_sum", "blend"},
}


@pytest.mark.parametrize("file", sorted(files("blursim_jax") & files("blursim_torch") - {"py.typed"}))
def test_both_packages_have_the_same_functions_in_the_same_order(file):
    ours, theirs = ([f for f in functions(package, file) if f not in OF_ONE[package]] for package in PACKAGES)
    assert ours == theirs


def test_every_exception_is_needed():
    for package, names in OF_ONE.items():
        (other,) = set(PACKAGES) - {package}
        defined, of_other = (
            {f for file in files(p) if file.endswith(".py") for f in functions(p, file)} for p in (package, other)
        )
        assert names <= defined - of_other


@pytest.mark.parametrize("package", SOURCES)
def test_package_is_typed(package):
    assert "py.typed" in files(package)


def test_public_names_are_listed_and_are_the_same_but_for_the_module():
    """SPEC 12.1, 12.2"""
    shared = {"blursim", "blursim_terms", "difference_maps", "Terms", "Maps"}
    shared |= {"Spectrum", "Edges", "Order", "Normalization", "Reduction"}
    assert set(blursim_jax.__all__) == shared
    assert set(blursim_torch.__all__) == shared | {"BlurSim", "linear_schedule", "cosine_decay_schedule"}


@packages
def test_what_is_listed_is_all_that_is_public_and_has_documentation(package):
    module = PACKAGES[package]
    assert module.__all__ == sorted(module.__all__)
    assert {name for name in vars(module) if not name.startswith("_")} == set(module.__all__)
    documented = pydoc.plain(pydoc.render_doc(module))
    assert all(name in documented for name in module.__all__)
    shown = "".join(inspect.getdoc(getattr(module, name)) or "" for name in module.__all__)
    assert not re.search(r"\\|:math:|\$", shown), "help() shows no markup of a web page"


@pytest.mark.parametrize(
    ("alias", "option"),
    [
        (name, name.lower() if name != "Order" else "p")
        for name in ("Spectrum", "Edges", "Order", "Normalization", "Reduction")
    ],
)
def test_aliases_of_the_words_are_the_words_that_are_accepted(alias, option):
    ours, theirs = (typing.get_args(getattr(package, alias)) for package in PACKAGES.values())
    assert ours == theirs
    x, y = torch.rand(2, 6, 5)
    for word in ours:
        blursim_torch.blursim(x, y, 0.3, **{option: word})
    signature = inspect.signature(blursim_torch.blursim).parameters[option]
    assert signature.default in ours
    assert signature.annotation == getattr(blursim_torch, alias)


@pytest.mark.parametrize("function", ["blursim", "blursim_terms", "difference_maps"])
def test_both_packages_have_the_same_signatures(function):
    """SPEC 12.1: options have defaults and are keyword-only."""
    ours, theirs = (inspect.signature(getattr(package, function)).parameters.values() for package in PACKAGES.values())
    assert [(p.name, p.kind, p.default) for p in ours] == [(p.name, p.kind, p.default) for p in theirs]
    images = {"x", "y", "alpha"}
    assert all((p.kind is p.POSITIONAL_OR_KEYWORD) == (p.default is p.empty) == (p.name in images) for p in ours)


def test_module_has_the_options_and_the_defaults_of_the_function():
    """SPEC 12.2"""
    function, module = (inspect.signature(of).parameters for of in (blursim_torch.blursim, blursim_torch.BlurSim))
    options = {name: (p.kind, p.default) for name, p in function.items() if name not in ("x", "y", "mask")}
    assert options == {name: (p.kind, p.default) for name, p in module.items()}


@packages
def test_without_its_framework_the_package_says_what_to_install(package):
    (framework,) = {"jax", "torch"} & FRAMEWORKS[package]
    code = f"import sys; sys.modules[{framework!r}] = None; import {package}"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert f"pip install 'blursim[{framework}]'" in ran.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """(sdist, wheel), the wheel made from the sdist."""
    folder = tmp_path_factory.mktemp("distributions")
    # Without isolation nothing is downloaded.
    run("build", "--no-isolation", "--outdir", folder, ROOT)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def run(*command):
    ran = subprocess.run([sys.executable, "-m", *map(str, command)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_wheel_holds_the_packages_and_nothing_else(distributions):
    names = zipfile.ZipFile(distributions[1]).namelist()
    metadata = {name for name in names if ".dist-info/" in name}
    assert set(names) - metadata == {f"{package}/{name}" for package in SOURCES for name in files(package)}
    assert all(package.__version__ == blursim.__version__ for package in PACKAGES.values())
    assert all(f"blursim-{blursim.__version__}" in path.name for path in distributions)
    assert any(name.endswith("/licenses/LICENSE") for name in metadata)


def test_sdist_holds_what_it_is_made_and_tested_from(distributions):
    with tarfile.open(distributions[0]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    sources = {f"{package}/{name}" for package in SOURCES for name in files(package)}
    assert names >= sources | {
        "LICENSE",
        "README.md",
        "SPEC.md",
        "CHANGELOG.md",
        "Makefile",
        "pyproject.toml",
        "PKG-INFO",
    }
    tested = {f"{folder}/{path.name}" for folder in ("tests", "examples") for path in (ROOT / folder).glob("*.py")}
    assert names >= tested - {"tests/test_study.py"}
    assert not any(name.startswith(("benchmarks/study", "tests/test_study")) for name in names)
    assert not any(Path(name).parts[:1] == (".venv",) or "output" in Path(name).parts for name in names)


@pytest.mark.slow
def test_sdist_passes_its_own_tests_with_the_wheel(distributions, tmp_path):
    with tarfile.open(distributions[0]) as sdist:
        sdist.extractall(tmp_path, filter="data")
    zipfile.ZipFile(distributions[1]).extractall(tmp_path / "wheel")
    (tree,) = tmp_path.glob("blursim-*")
    for package in SOURCES:
        shutil.rmtree(tree / package)
    ran = subprocess.run(
        [Path(sys.executable).with_name("pytest"), "-q", "-p", "no:cacheprovider", "tests/test_definition.py"],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "wheel")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout


def test_links_of_the_long_description_are_absolute_once_the_address_is_known(distributions):
    (metadata,) = (name for name in zipfile.ZipFile(distributions[1]).namelist() if name.endswith("/METADATA"))
    description = zipfile.ZipFile(distributions[1]).read(metadata).decode()
    # These would break on the index; the release workflow knows the repository's address and mends them.
    broken = [path for path, _ in links(description) if path]
    assert {"docs/refocus.jpg", "docs/choosing.md"} <= set(broken)
    absolute = runpy.run_path(str(ROOT / ".ci" / "absolute_links.py"))["absolute"]
    mended = absolute(description, "https://example.org/owner/name", "v1")
    assert not [path for path, _ in links(mended) if path]
    assert "(https://example.org/owner/name/raw/v1/docs/refocus.jpg)" in mended
    assert "(https://example.org/owner/name/blob/v1/CONTRIBUTING.md#what-may-change)" in mended
    assert all((ROOT / path).is_file() for path in broken)


@pytest.mark.parametrize("workflow", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit_and_may_only_read(workflow):
    text = workflow.read_text()
    uses = re.findall(r"uses: (\S+)(.*)", text)
    assert uses
    assert all(re.fullmatch(r"[\w/.-]+@[0-9a-f]{40}", action) for action, _ in uses)
    assert all(re.fullmatch(r"  # v\d+\.\d+\.\d+", comment) for _, comment in uses)
    assert "\npermissions: {contents: read}\n" in text
    assert text.count("persist-credentials: false") == text.count("actions/checkout@")


@pytest.mark.parametrize("constraints", sorted((ROOT / ".ci").glob("*.txt")), ids=lambda path: path.stem)
def test_constraints_name_one_release_of_each_package(constraints):
    lines = [line for line in constraints.read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    names = [line.partition("==")[0].lower() for line in lines]
    assert len(set(names)) == len(names)


def test_distributions_pass_the_checks_of_the_index(distributions):
    run("twine", "check", "--strict", *distributions)
    run("check_wheel_contents", "--config", ROOT / "pyproject.toml", distributions[1])


def test_citation_has_the_title_of_the_readme():
    title = (ROOT / "README.md").read_text().splitlines()[0].removeprefix("# ")
    assert f'title: "{title}"' in (ROOT / "CITATION.cff").read_text()
