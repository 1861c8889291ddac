"""The package as users get it: the wheel, its metadata, and what the texts promise."""

from __future__ import annotations

import fnmatch
import pkgutil
import re
import subprocess
import sys
import tomllib
import zipfile
from functools import cache
from pathlib import Path

import pytest
from tinynet_kernels.cuda_headers import HEADERS

import tinynet as tn

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    code = f"from hatchling.build import build_wheel; print(build_wheel({str(folder)!r}))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return folder / result.stdout.split()[-1]


def test_the_wheel_holds_the_two_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"tinynet", "tinynet_kernels"}
    assert {"tinynet/py.typed", "tinynet_kernels/py.typed", "tinynet_kernels/reference/__init__.py"} <= set(names)
    assert not [name for name in names if name.endswith((".pyc", ".nbi", ".nbc"))]


def test_the_wheel_holds_the_cuda_sources(wheel: Path) -> None:
    # Compared with the folder: a source that is left out would be missed only on a GPU.
    folder = ROOT / "kernels" / "tinynet_kernels" / "cuda"
    sources = {f"tinynet_kernels/cuda/{path.name}" for kind in ("*.cu", "*.cuh") for path in folder.glob(kind)}
    assert len(sources) > 10
    with zipfile.ZipFile(wheel) as archive:
        assert sources <= set(archive.namelist())


def test_the_wheel_works_outside_the_repository(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}]\n"
        "import tinynet as tn, tinynet_kernels\n"
        f"assert tn.__file__.startswith({str(tmp_path)!r}), tn.__file__\n"
        "net = tn.Sequential(tn.Linear(2, 1), backend='numpy')\n"
        "print(net.fit([[0, 1], [1, 0]], [1, 0], epochs=2)['loss'])\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("[")


def test_versions_agree() -> None:
    from importlib.metadata import version

    assert version("tinynet-accel") == tn.__version__


def texts() -> list[Path]:
    kinds = ("*.md", "*.py", "*.toml", "*.ipynb")
    folders = ("tinynet", "kernels", "examples", "benchmarks", "docs", "findings")
    inside = [path for folder in folders for kind in kinds for path in (ROOT / folder).rglob(kind)]
    return [*ROOT.glob("*.md"), *inside]


@pytest.mark.parametrize("path", texts(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_text_sends_users_to_the_other_tinynet(path: Path) -> None:
    # `tinynet` on PyPI is somebody else's package.
    assert not re.search(r"pip install (-U |--upgrade )?[\"']?tinynet(?!-accel)\b", path.read_text())


NAMED = re.compile(r"(?<![\w./*-])((?:[\w*-]+/)*[\w*-]+\.(?:py|cuh?|toml|md|rst))(?![\w(])")
"""A file of the repository as texts name it: its name, or the end of its path, where a star stands for anything."""


@cache
def ends_of_paths() -> frozenset[str]:
    """The ends of the paths of all files, from the name up to the whole path."""
    folders = ("tinynet", "kernels", "tests", "examples", "benchmarks", "docs", "findings")
    inside = [path.relative_to(ROOT).parts for folder in folders for path in (ROOT / folder).rglob("*.*")]
    parts = [*inside, *((path.name,) for path in ROOT.glob("*.*"))]
    return frozenset("/".join(path[start:]) for path in parts for start in range(len(path)))


@pytest.mark.parametrize("path", texts(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_a_text_names_exists(path: Path) -> None:
    named = set(NAMED.findall(path.read_text())) - ends_of_paths() - set(HEADERS)  # Those are written from formulas.
    assert not {name for name in named if not ("*" in name and fnmatch.filter(ends_of_paths(), name))}


MODULE = re.compile(r"(?<![\w./@])tinynet(?:\.\w+)+")


@pytest.mark.parametrize(
    "path", [path for path in texts() if path.suffix == ".md"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_name_of_the_package_that_a_page_gives_is_there(path: Path) -> None:
    for name in set(MODULE.findall(path.read_text())):
        pkgutil.resolve_name(name)


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if re.search(r'pip install (-e )?"?\.', line)]


def test_the_readme_has_two_set_up_commands() -> None:
    train, test = commands()
    assert train == "python -m pip install . && tinynet train"
    assert test.startswith("python -m pip install")
    assert test.endswith("&& python -m pytest")


def test_ci_runs_the_readmes_test_command() -> None:
    pattern = re.search(r"grep -E '(.*?)' README.md", (ROOT / ".ci" / "run").read_text())
    assert pattern is not None
    found = [line for line in (ROOT / "README.md").read_text().splitlines() if re.search(pattern[1], line)]
    assert found == commands()[1:]


def test_the_first_python_block_of_the_readme_runs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert block is not None
    assert len([line for line in block[1].splitlines() if line.strip()]) <= 12
    subprocess.run([sys.executable, "-c", block[1]], cwd=tmp_path, check=True)
    assert (tmp_path / "net.npz").exists()
    assert "epoch 200/200" in capfd.readouterr().out


def test_extras_install_what_messages_name() -> None:
    extras = PROJECT["optional-dependencies"]
    assert extras["cuda13"][0].startswith("cupy-cuda13x[ctk]")
    assert extras["cuda12"][0].startswith("cupy-cuda12x[ctk]")


def test_the_conda_recipe_requires_what_the_package_requires() -> None:
    recipe = (ROOT / "conda" / "recipe.yaml").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    run = recipe.partition("\n  run:\n")[2].partition("\n\n")[0]
    found = {line.strip(" -").replace(" ", "") for line in run.splitlines()}
    # Without their markers; conda has the compilers on every platform that it knows, in one version for all.
    required = {re.split(r"[,;]", text)[0].strip() for text in project["dependencies"]}
    assert found == required | {f"python{project['requires-python']}"}
    assert f'version: "{tn.__version__}"' in recipe
    assert f"summary: {project['description']}\n" in recipe
