"""Notebooks: run an example as a reader would, and look at what its cells show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tinynet_kernels.waiting import COMPILING, LOADING

nbformat = pytest.importorskip("nbformat", reason="the example needs nbformat: pip install nbformat")
nbclient = pytest.importorskip("nbclient", reason="running the example needs nbclient: pip install nbclient")
pytest.importorskip("ipykernel", reason="running the example needs ipykernel: pip install ipykernel")
pytest.importorskip("matplotlib", reason="the example plots with matplotlib: pip install matplotlib")

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"


def read(example: Path) -> Any:
    """Return a notebook as it is stored."""
    return nbformat.read(example, as_version=4)


def executed(example: Path, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Any:
    """Return a notebook as it is after a run by this Python, whatever kernels and settings the user has.

    Only a machine that has not compiled before tells of compilers; everything else may come on stdout alone.
    """
    for name in ("JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(folder))
    monkeypatch.delenv("JUPYTER_PATH", raising=False)
    fresh = read(example)
    nbclient.NotebookClient(fresh, timeout=None, resources={"metadata": {"path": str(ROOT)}}).execute()
    told = [output for output in outputs(fresh) if output.get("name") == "stderr"]
    assert {line for output in told for line in output.text.splitlines()} <= {COMPILING, LOADING}
    for cell in fresh.cells:
        cell["outputs"] = [output for output in cell.get("outputs", []) if output.get("name") != "stderr"]
    return fresh


def outputs(notebook: Any) -> list[Any]:
    """Return what all cells show."""
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
