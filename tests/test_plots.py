"""Plots show what was trained; the live plot keeps out of the way."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

import tinynet as tn
from tinynet.training import live

RNG = np.random.default_rng(4)
X = RNG.normal(size=(30, 2))
Y = X[:, :1] - X[:, 1:]
PNG = b"\x89PNG\r\n\x1a\n"


def network() -> tn.Sequential:
    return tn.Sequential(tn.Linear(2, 4), tn.Tanh(), tn.Linear(4, 1, bias=False), seed=0, backend="numpy")


def curves(figure: Any) -> dict[str, list[float]]:
    return {line.get_label(): list(line.get_ydata()) for line in figure.axes[0].lines}


def test_a_history_plots_its_losses() -> None:
    history = network().fit(X, Y, epochs=5, validation_split=0.2)
    figure = history.plot()
    assert curves(figure) == {"training": history["loss"], "validation": history["val_loss"]}
    assert list(figure.axes[0].lines[0].get_xdata()) == [1, 2, 3, 4, 5]


def recorded(**figures: list[float]) -> tn.History:
    history = tn.History()
    for epoch, values in enumerate(zip(*figures.values(), strict=True)):
        history.record(epoch, dict(zip(figures, values, strict=True)))
    return history


@pytest.mark.parametrize(
    ("losses", "scale"),
    [([5.0, 0.5], "log"), ([5.0, 0.6], "linear"), ([5.0, 0.0], "linear"), ([np.inf, 1.0], "linear")],
)
def test_the_scale_fits_the_range(losses: list[float], scale: str) -> None:
    assert recorded(loss=losses).plot().axes[0].get_yscale() == scale


def test_any_figure_is_plotted_with_that_of_the_validation(tmp_path: Path) -> None:
    history = recorded(loss=[2.0, 1.0], r2=[0.1, 0.2], val_r2=[0.0, 0.1], learning_rate=[0.1, 0.01])
    left, right = history.plot(tmp_path / "figures.png", ["r2", "learning_rate"]).axes
    assert (left.get_ylabel(), [line.get_label() for line in left.lines]) == ("r2", ["training", "validation"])
    assert (right.get_ylabel(), len(right.lines), right.get_yscale()) == ("learning_rate", 1, "log")
    assert all(tick == int(tick) for tick in left.get_xticks())  # There is no epoch 1.5.
    with pytest.raises(ValueError, match=r"figures must be one of .*got 'r3'"):
        history.plot(figures="r3")


def test_a_history_is_a_frame_of_pandas() -> None:
    history = recorded(loss=[2.0, 1.0], val_loss=[3.0, 2.0])
    frame = history.to_pandas()
    assert frame.to_dict("list") == history.history
    assert (frame.index.name, frame.index.tolist()) == ("epoch", [0, 1])
    models = tn.EnsembleHistory(2)
    for epoch in range(2):
        models.record(epoch, {"loss": np.array([epoch, 10.0 + epoch])})
    assert models.to_pandas()["loss"].loc[(1, 0)] == 1.0
    assert models.to_pandas()["loss"].tolist() == [0.0, 10.0, 1.0, 11.0]


def test_a_history_without_epochs_is_an_empty_plot() -> None:
    assert curves(tn.History().plot()) == {}


@pytest.mark.parametrize(("suffix", "start"), [(".png", PNG), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_plots_are_written(suffix: str, start: bytes, tmp_path: Path) -> None:
    net = network()
    net.fit(X, Y).plot(tmp_path / f"loss{suffix}")
    tn.plot_weights(net, tmp_path / f"weights{suffix}")
    for path in tmp_path.iterdir():
        assert path.read_bytes().startswith(start)


def test_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.png"):
        tn.History().plot(tmp_path / "loss.bmp")


def test_jupyter_can_show_a_plot_without_pyplot() -> None:
    assert tn.History().plot()._repr_png_().startswith(PNG)  # type: ignore[attr-defined]


def test_weights_are_shown_layer_by_layer_on_a_scale_around_zero() -> None:
    net = network()
    first, second = (layer for layer in net.layers if isinstance(layer, tn.Linear))
    first.bias[...] = [0.0, 9.0, 0.0, -1.0]
    images = [axes.images[0] for axes in tn.plot_weights(net).axes if axes.images]
    np.testing.assert_array_equal(images[0].get_array(), first.weight)
    np.testing.assert_array_equal(images[1].get_array(), first.bias[None])
    np.testing.assert_array_equal(images[2].get_array(), second.weight)
    assert images[0].get_clim() == images[1].get_clim() == (-9.0, 9.0)
    limit = float(np.abs(second.weight).max())
    assert images[2].get_clim() == (-limit, limit)


def test_inputs_and_outputs_are_counted_in_whole_numbers_where_there_is_one() -> None:
    weight, bias = tn.plot_weights(tn.Sequential(tn.Linear(1, 1), backend="numpy", seed=0)).axes[:2]
    for ticks in (weight.get_yticks(), bias.get_xticks()):
        assert np.array_equal(ticks, np.round(ticks))


def test_weights_that_are_all_zero_can_be_shown() -> None:
    net = network()
    net.set_flat_parameters(np.zeros(net.n_parameters))
    assert tn.plot_weights(net)._repr_png_().startswith(PNG)  # type: ignore[attr-defined]


def test_a_network_without_weights_has_none_to_show() -> None:
    with pytest.raises(ValueError, match="with Linear layers"):
        tn.plot_weights(tn.Sequential(tn.Normalize(2).adapt(X), backend="numpy"))


def test_plots_need_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    net = network()
    for plot in (tn.History().plot, lambda: tn.plot_weights(net), lambda: net.fit(X, Y, callbacks=tn.LivePlot())):
        with pytest.raises(tn.DependencyError, match="pip install matplotlib"):
            plot()


# -- LivePlot --------------------------------------------------------------------------------------------------------


def test_a_live_plot_outside_jupyter_says_so_and_lets_training_run() -> None:
    net, same = network(), network()
    with pytest.warns(UserWarning, match=r"nothing is drawn.*history\.plot\(\)"):
        history = net.fit(X, Y, epochs=3, callbacks=[tn.LivePlot()])
    assert history.history == same.fit(X, Y, epochs=3).history


class Handle:
    """Stands in for the cell of a notebook."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.seen: list[int] = []

    def display(self, figure: Any) -> None:
        self.calls.append("display")
        self.seen.append(len(curves(figure)["training"]))

    def update(self, figure: Any) -> None:
        self.calls.append("update")
        self.seen.append(len(curves(figure)["training"]))


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Handle:
    import IPython.display

    handle = Handle()
    monkeypatch.setattr(live, "in_jupyter", lambda: True)
    monkeypatch.setattr(IPython.display, "DisplayHandle", lambda: handle)
    return handle


def test_a_live_plot_is_one_display_that_is_renewed(cell: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 10))  # Ten seconds pass between any two looks at the clock.
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    step = tn.LambdaCallback(on_epoch_end=lambda epoch, logs: None)
    network().fit(X, Y, epochs=40, callbacks=[tn.LivePlot(), step])
    assert cell.calls == ["display"] + ["update"] * (len(cell.calls) - 1)
    assert cell.seen == sorted(cell.seen)
    assert cell.seen[-1] == 40
    # Drawing takes 10 seconds of that clock, so 100 must pass until the next one.
    assert 2 < len(cell.calls) < 8


def test_a_live_plot_is_drawn_at_the_end_whatever_the_clock_says(cell: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    network().fit(X, Y, epochs=50, callbacks=[tn.LivePlot()])
    assert cell.calls == ["display", "update"]
    assert cell.seen[-1] == 50


def test_a_live_plot_in_a_notebook_is_a_picture() -> None:
    code = (
        "import numpy as np, tinynet as tn\n"
        "net = tn.Sequential(tn.Linear(1, 1), backend='numpy', seed=0)\n"
        "_ = net.fit([[0.0], [1.0]], [[1.0], [3.0]], epochs=5, callbacks=[tn.LivePlot()])"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, timeout=None, kernel_name="python3").execute()
    outputs = notebook.cells[0].outputs
    assert [output.output_type for output in outputs] == ["display_data"]
    assert "image/png" in outputs[0].data


@pytest.mark.parametrize("seconds", [0.0, 0.1, -1.0])
def test_a_live_plot_is_renewed_a_few_times_a_second_at_most(seconds: float) -> None:
    with pytest.raises(ValueError, match="every_seconds"):
        tn.LivePlot(seconds)
