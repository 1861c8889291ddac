"""A sweep to look at: its report, its plots, its progress."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sweep_runs import quick


def test_the_report_shows_what_differs_best_first() -> None:
    text = repr(quick({"learning_rate": [0.001, 0.1], "width": [4], "activation": ["tanh", "relu"]}, seeds=2))
    head, names, *rows = text.splitlines()
    assert head == "SweepResult: 4 settings x 2 seeds, 8 runs"
    assert names.split()[:3] == ["learning_rate", "activation", "val_loss"]
    assert [row.split()[0] for row in rows] == ["0.1", "0.1", "0.001", "0.001"]


def test_plots_draw_each_setting(tmp_path: Any) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib: pip install matplotlib")
    result = quick({"learning_rate": [1e-3, 1e-2, 0.1, 1e200], "activation": ["tanh", "relu"]}, seeds=2)
    parallel = result.plot_parallel(tmp_path / "parallel.png")
    (lines,) = parallel.axes[0].collections
    assert len(lines.get_segments()) == 6  # Two settings diverged.
    heights = np.array(lines.get_segments())[:, -1, 1]
    means = result.summary()["val_loss_mean"][:6][::-1]
    assert (np.argsort(heights) == np.argsort(means)).all()
    assert [label.get_text() for label in parallel.axes[0].get_xticklabels()] == [
        "learning_rate",
        "activation",
        "val_loss (mean)",
    ]
    losses = result.plot_losses(tmp_path / "losses.svg", n_settings=2)
    best = losses.axes[0].get_lines()[-1]
    setting = result.summary()["setting"][0]
    expected = np.median(result.losses("val_loss")[:, result.table["setting"] == setting], axis=1)
    np.testing.assert_allclose(best.get_ydata(), expected)
    assert (tmp_path / "parallel.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "losses.svg").read_text().startswith("<?xml")


def test_progress_is_a_line_for_each_group(capsys: pytest.CaptureFixture[str]) -> None:
    result = quick({"width": [4, 6]}, seeds=2, verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["2/4", "4/4"]
    assert f"best val_loss {result.table['val_loss'].min():.6g}" in lines[-1]
    quick({}, verbose=0)
    assert capsys.readouterr().out == ""


def test_on_a_terminal_progress_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    class Bar:
        def __getattr__(self, name: str) -> Any:
            return lambda *args, **kwargs: calls.append((name, kwargs))

    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("tinynet.sweeps.sweep.rich_bar", Bar)
    quick({"width": [4, 6]}, seeds=3, verbose=1)
    assert [name for name, _ in calls] == ["start", "add_task", "update", "update", "stop"]
    assert [kwargs.get("completed") for _, kwargs in calls[1:4]] == [0, 3, 6]
    assert calls[1][1]["total"] == 6
