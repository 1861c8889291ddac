"""examples/notebook.ipynb runs, and what it shows is what it computes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.notebooks import EXAMPLES, executed, nbformat, outputs, read

EXAMPLE = EXAMPLES / "notebook.ipynb"
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


@pytest.fixture(scope="module")
def stored() -> Any:
    return read(EXAMPLE)


def texts(notebook: Any) -> str:
    """All printed lines and tables; figures are left out."""
    found = [output.get("text") or output.get("data", {}).get("text/markdown", "") for output in outputs(notebook)]
    return "".join(found)


def figures(notebook: Any) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs(notebook))


def test_the_example_runs_and_gives_the_outputs_that_are_stored(
    stored: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = executed(EXAMPLE, monkeypatch, tmp_path)
    assert {output.output_type for output in outputs(fresh)} == {"stream", "display_data", "execute_result"}
    assert figures(fresh) == figures(stored)
    assert NUMBER.sub("#", texts(fresh)).split() == NUMBER.sub("#", texts(stored)).split()
    numbers = [np.array(NUMBER.findall(texts(notebook)), dtype=float) for notebook in (fresh, stored)]
    # Other processors round differently, and training magnifies that.
    np.testing.assert_allclose(*numbers, rtol=0.05, atol=0.02)


@pytest.mark.parametrize(
    "line",
    [
        "1.6271",
        "Running  Stochastic Gradient Descent on 1000 samples",
        "| element | backpropagation | finite difference | discrepancy |",
        "same losses: True",
        "gradients checked: True",
    ],
)
def test_the_example_shows_its_results(stored: Any, line: str) -> None:
    assert line in texts(stored).splitlines()


def test_the_example_plots_its_losses(stored: Any) -> None:
    assert figures(stored) == 7


def test_the_gradients_in_the_tables_agree(stored: Any) -> None:
    rows = re.findall(r"^\| \(\d, \d\) \| (\S+) \| (\S+) \|", texts(stored), flags=re.MULTILINE)
    backpropagation, differences = np.array(rows, dtype=float).T
    assert len(rows) == 4 * 3 + 2 * (5 * 3 + 4 * 5)
    np.testing.assert_allclose(backpropagation, differences, rtol=1e-3, atol=2e-5)


def test_the_stored_example_is_portable(stored: Any) -> None:
    nbformat.validate(stored)
    assert stored.metadata.kernelspec.name == "python3"
    assert all(not cell.metadata for cell in stored.cells)
    assert not re.search(r"/home/|/tmp/|/root/|[A-Z]:\\", "".join(cell.source for cell in stored.cells) + texts(stored))
    assert EXAMPLE.stat().st_size < 400_000
