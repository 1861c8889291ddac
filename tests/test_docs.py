"""The documentation agrees with the library: names, formulas, and the code of its pages."""

from __future__ import annotations

import contextlib
import importlib
import io
import pkgutil
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import formula_table
import numpy as np
import pytest
from scipy.special import erfc

import tinynet as tn
from tinynet.schedules import Schedule

DOCS = Path(__file__).resolve().parent.parent / "docs"
RNG = np.random.default_rng(3)
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
FENCE = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TABLE: dict[str, dict[str, Any]] = formula_table.table()


# -- names


def reference() -> set[str]:
    """Names in the API reference, as they stand after ``tinynet.``."""
    text = (DOCS / "reference" / "index.rst").read_text()
    blocks = re.findall(r"^\.\. autosummary::\n((?:   .*\n|\n)+)", text, re.MULTILINE)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return {line for line in lines if line and not line.startswith(":")}


def test_every_public_name_is_in_the_api_reference() -> None:
    assert set(tn.__all__) - reference() == set()


@pytest.mark.parametrize("module", ["notebook", "datasets", "estimators", "math"])
def test_every_public_name_of_a_module_is_in_the_api_reference(module: str) -> None:
    names = importlib.import_module(f"tinynet.{module}").__all__
    assert {f"{module}.{name}" for name in names} - reference() == set()


@pytest.mark.parametrize("name", sorted(reference()))
def test_every_name_of_the_api_reference_is_there(name: str) -> None:
    if name.startswith("estimators."):
        pytest.importorskip("sklearn")
    assert pkgutil.resolve_name(f"tinynet.{name}") is not None


def test_every_layer_loss_optimizer_schedule_and_initializer_has_its_maths() -> None:
    assert formula_table.differences() == []


# -- formulas


def computed(code: str, **names: Any) -> dict[str, Any]:
    """Run the code of an entry, and return all names."""
    space: dict[str, Any] = {**vars(np), "erfc": np.vectorize(erfc), **names}
    exec(code, space)
    return space


def entries(page: str) -> list[str]:
    return list(TABLE[page])


@pytest.mark.parametrize("page", sorted(TABLE))
def test_formulas_are_latex_that_the_pages_know(page: str) -> None:
    """What is drawn without JavaScript is not all of LaTeX."""
    mathml = pytest.importorskip("docutils.utils.math.latex2mathml")
    for entry in TABLE[page].values():
        inline = re.findall(r"(?<!\\)\$([^$]+)\$", entry.get("words", ""))
        for formula in (entry["formula"], entry.get("gradient", ""), *inline):
            assert formula == "" or "<math" in mathml.tex2mathml(formula.strip(), as_block=formula not in inline)


LAYERS: dict[str, Callable[[], tn.Layer]] = {
    "Linear": lambda: tn.Linear(3, 3),
    "Dropout": lambda: tn.Dropout(0.25),
    "LeakyReLU": lambda: tn.LeakyReLU(0.2),
    "ELU": lambda: tn.ELU(0.7),
    "Normalize": lambda: tn.Normalize(3),
    "Denormalize": lambda: tn.Denormalize(3),
    "Increasing": lambda: tn.Increasing(4),
    "MeanVariance": lambda: tn.MeanVariance(2, floor=0.01),
    "Activation": lambda: tn.Activation(lambda x: x / (1 + abs(x))),
    "LayerNorm": lambda: tn.LayerNorm(3, eps=0.1),
    "BatchNorm": lambda: tn.BatchNorm(3, eps=0.1),
    "Residual": lambda: tn.Residual(tn.Linear(3, 3, weight_init=lambda shape, rng: np.eye(3)), tn.Tanh()),
    "Embedding": lambda: tn.Embedding(4, 1, columns=[2], n_in=3),
}


@pytest.mark.parametrize("name", entries("layers"))
def test_the_code_beside_a_layers_formula_computes_it(name: str) -> None:
    layer = LAYERS.get(name, getattr(tn, name))().build("float64", seed=0, backend="numpy")
    x, dy = (RNG.normal(size=(40, layer.n_in or 3)) for _ in range(2))
    if name == "Embedding":
        x[:, 2] = RNG.integers(0, 4, 40)
    if isinstance(layer, tn.LayerNorm | tn.BatchNorm):
        layer.weight, layer.bias = RNG.normal(size=3), RNG.normal(size=3)
    if isinstance(layer, tn.Normalize | tn.Denormalize):
        layer.adapt(RNG.normal(2, 3, (50, 3)))
    y, dx = (np.array(array) for array in (layer.forward(x, training=True), layer.backward(dy)))
    known: dict[str, Any] = {
        "x": x,
        "dy": dy,
        "alpha": getattr(layer, "alpha", None),
        "floor": getattr(layer, "floor", None),
    }
    if name == "Linear":
        known |= {"w": layer.weight, "b": layer.bias}
    if name == "Embedding":
        known |= {"w": layer.weight}
    if isinstance(layer, tn.LayerNorm | tn.BatchNorm):
        known |= {"gamma": layer.weight, "beta": layer.bias, "eps": layer.eps}
    if isinstance(layer, tn.Normalize | tn.Denormalize):
        known |= {"mean": layer.mean, "scale": layer.scale}
    if name == "Dropout":
        known["mask"] = y / x
        assert set(known["mask"].round(12).ravel()) == {0.0, round(1 / 0.75, 12)}
    result = computed(TABLE["layers"][name]["numpy"], **known)
    np.testing.assert_allclose(y, result["y"], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(dx, result["dx"], rtol=1e-12, atol=1e-14)
    if name == "Linear":
        np.testing.assert_allclose(layer.weight_grad, result["dw"], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(layer.bias_grad, result["db"], rtol=1e-12, atol=1e-14)


def any_values() -> tuple[Any, Any]:
    return RNG.normal(size=(20, 3)), RNG.normal(size=(20, 3))


LOSS_DATA: dict[str, Callable[[], tuple[Any, Any]]] = {
    "BinaryCrossEntropy": lambda: (RNG.uniform(0.05, 0.95, (20, 3)), RNG.uniform(0, 1, (20, 3))),
    "BinaryFocal": lambda: (RNG.normal(size=(20, 3)), RNG.uniform(0, 1, (20, 3))),
    "PoissonLoss": lambda: (RNG.normal(size=(20, 3)), RNG.uniform(0.1, 4, (20, 3))),
    "GaussianNLL": lambda: (
        np.hstack([RNG.normal(size=(20, 2)), RNG.uniform(0.1, 2, (20, 2))]),
        RNG.normal(size=(20, 2)),
    ),
    "CategoricalFocal": lambda: (RNG.normal(size=(20, 3)), np.eye(3)[RNG.integers(0, 3, 20)]),
    "CrossEntropy": lambda: (RNG.normal(size=(20, 3)), RNG.dirichlet(np.ones(3), 20)),
}


LOSS_SETTINGS = {
    "Huber": {"delta": 0.8},
    "Quantile": {"q": 0.3},
    "BinaryFocal": {"gamma": 1.5},
    "CategoricalFocal": {"gamma": 1.5},
}


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", sorted({*entries("losses")} - {"Sobolev"}))
def test_the_code_beside_a_losss_formula_computes_it(name: str, reduction: Any) -> None:
    settings: dict[str, Any] = dict(LOSS_SETTINGS.get(name, {}))
    if name == "ElementwiseLoss":
        settings["function"] = lambda p, t: tn.math.sqrt(1 + (p - t) ** 2)
    loss = getattr(tn, name)(reduction=reduction, **settings)
    p, t = LOSS_DATA.get(name, any_values)()
    result = computed(TABLE["losses"][name]["numpy"], p=p, t=t, **settings)
    divisor = result["loss"].size if reduction == "mean" else 1
    np.testing.assert_allclose(loss.forward(p, t), result["loss"].sum() / divisor, rtol=1e-12)
    np.testing.assert_allclose(loss.backward(p, t), result["gradient"] / divisor, rtol=1e-11, atol=1e-14)


def test_of_logits_binary_cross_entropy_has_the_gradient_beside_its_formula() -> None:
    z, t = any_values()[0], RNG.uniform(0, 1, (20, 3))
    p = 1 / (1 + np.exp(-z))
    loss = tn.BinaryCrossEntropy(from_logits=True, reduction="sum")
    result = computed(TABLE["losses"]["BinaryCrossEntropy"]["numpy"], p=p, t=t)
    np.testing.assert_allclose(loss.forward(z, t), result["loss"].sum(), rtol=1e-12)
    np.testing.assert_allclose(loss.backward(z, t), p - t, rtol=1e-11, atol=1e-14)


def test_the_code_beside_the_formulas_of_uncertainty_computes_it() -> None:
    net = tn.Sequential(tn.Linear(3, 4), tn.Tanh(), tn.Linear(4, 2), dtype="float64", seed=0)
    x, y, labels = RNG.normal(size=(20, 3)), RNG.normal(size=(20, 2)), RNG.integers(0, 2, 20)
    known = {"jacobian": net.parameter_jacobian(x), "noise": 0.5, "prior_precision": 2.0, "z": net.predict(x)}
    result = computed(TABLE["uncertainty"]["Laplace"]["numpy"], **known)
    found = tn.laplace(net, x, y, noise=0.5, prior_precision=2.0)
    np.testing.assert_allclose(found.std(x), result["std"], rtol=1e-9)
    result = computed(TABLE["uncertainty"]["ClassLaplace"]["numpy"], **known)
    of_classes = tn.laplace(net, x, labels, loss="cross_entropy", prior_precision=2.0)
    np.testing.assert_allclose(of_classes.mean(x), result["mean"], rtol=1e-9)
    assert {*entries("uncertainty")} == {"Laplace", "ClassLaplace"}


def test_the_code_beside_the_formula_of_a_loss_of_slopes_computes_it() -> None:
    net = tn.Sequential(tn.Linear(3, 4), tn.Tanh(), tn.Linear(4, 2), dtype="float64", seed=0)
    x, t, d = (RNG.normal(size=size) for size in [(20, 3), (20, 2), (20, 2, 3)])
    known = {"p": net.predict(x), "t": t, "s": net.jacobian(x), "d": d, "weight": 0.4}
    want = computed(TABLE["losses"]["Sobolev"]["numpy"], **known)["loss"]
    found = net.evaluate(x, (t, d), loss=tn.Sobolev(weight=0.4))["loss"]
    np.testing.assert_allclose(found, want, rtol=1e-12)


OPTIMIZERS: dict[str, list[dict[str, Any]]] = {
    "SGD": [
        {},
        {"weight_decay": 0.1},
        {"momentum": 0.9, "weight_decay": 0.1},
        {"momentum": 0.9, "nesterov": True},
    ],
    "Adam": [
        {},
        {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3, "weight_decay": 0.1},
        {"epsilon_hat": True, "epsilon": 0.1},
    ],
    "AdamW": [{}, {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3, "weight_decay": 0.1}],
    "RMSprop": [{}, {"alpha": 0.8, "epsilon": 1e-3, "weight_decay": 0.1, "momentum": 0.5, "centered": True}],
    # Those that take all samples in each step have tests of their own, in test_second_order.py.
    "LevenbergMarquardt": [],
    "BayesianRegularization": [],
    "LBFGS": [],
}


@pytest.mark.parametrize(("name", "settings"), [(name, s) for name in entries("optimizers") for s in OPTIMIZERS[name]])
def test_the_code_beside_an_optimizers_formula_computes_it(name: str, settings: dict[str, Any]) -> None:
    net = tn.Sequential(tn.Linear(4, 3), dtype="float64", backend="numpy", seed=0)
    optimizer = getattr(tn, name)(0.05, **settings)
    known = {"p": net.flat_parameters(), "learning_rate": 0.05, **optimizer.settings()}
    known |= dict.fromkeys("mvad", 0.0)
    for step in range(1, 6):
        gradient = RNG.normal(size=net.n_parameters)
        net.state.gradients[...] = gradient
        optimizer.step(net)
        known = computed(TABLE["optimizers"][name]["step"], **{**known, "g": gradient, "t": step})
        np.testing.assert_allclose(net.flat_parameters(), known["p"], rtol=1e-12, atol=1e-14)


SCHEDULES: dict[str, dict[str, Any]] = {
    "StepDecay": {"initial": 0.1, "every": 3, "factor": 0.5},
    "ExponentialDecay": {"initial": 0.1, "factor": 0.9},
    "CosineDecay": {"initial": 0.1, "epochs": 6, "final": 0.01},
    "Warmup": {"then": 0.1, "epochs": 3},
    "OneCycle": {"highest": 0.1, "epochs": 7, "rise": 0.4, "first": 0.2, "last": 0.01},
}


@pytest.mark.parametrize("name", entries("schedules"))
def test_the_code_beside_a_schedules_formula_computes_it(name: str) -> None:
    settings = SCHEDULES[name]
    schedule: Schedule = getattr(tn, name)(**settings)
    t = np.linspace(0, 10, 41)
    rate = computed(TABLE["schedules"][name]["numpy"], t=t, **settings)["rate"]
    np.testing.assert_allclose(schedule(t), rate, rtol=1e-12)


INITIALIZERS: dict[str, list[dict[str, Any]]] = {
    "Zeros": [{}],
    "Ones": [{}],
    "Constant": [{"value": 2.0}],
    "Normal": [{"std": 0.3}],
    "Uniform": [{"limit": 0.3}],
    **{name: [{"distribution": kind} for kind in ("uniform", "normal")] for name in ("Glorot", "He", "LeCun")},
}


@pytest.mark.parametrize(
    ("name", "settings"), [(name, s) for name in entries("initializers") for s in INITIALIZERS[name]]
)
def test_the_code_beside_an_initializers_formula_computes_it(name: str, settings: dict[str, Any]) -> None:
    n_in, n_out = 300, 500
    values = getattr(tn, name)(**settings)((n_in, n_out), np.random.default_rng(0))
    variance = computed(TABLE["initializers"][name]["numpy"], n_in=n_in, n_out=n_out, **settings)["variance"]
    np.testing.assert_allclose(values.var(), variance, rtol=0.02)


# -- pages

PAGES = sorted(path for path in DOCS.rglob("*.md") if "```python\n" in path.read_text())


def test_there_are_pages_with_code() -> None:
    assert len(PAGES) > 10


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_the_code_of_a_page_runs_and_prints_what_the_page_shows(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    text = path.read_text()
    space: dict[str, Any] = {"__name__": "__main__"}
    blocks = [(match[1], match[2], text[: match.start()].count("\n")) for match in FENCE.finditer(text)]
    for (kind, code, line), follower in zip(blocks, [*blocks[1:], ("python", "", 0)], strict=True):
        if kind == "text":
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * (line + 1) + code, str(path), "exec"), space)
        shown = follower[1] if follower[0] == "text" else ""
        assert_alike(printed.getvalue(), shown, f"{path.name}, line {line + 2}")


def assert_alike(printed: str, shown: str, where: str) -> None:
    """Words are equal, and numbers are close: other processors round differently, and training magnifies that."""
    message = f"{where} prints\n{textwrap.indent(printed, '    ')}"
    assert NUMBER.sub("#", printed).split() == NUMBER.sub("#", shown).split(), message
    numbers = [np.array(NUMBER.findall(words), dtype=float) for words in (printed, shown)]
    np.testing.assert_allclose(*numbers, rtol=0.1, atol=0.03, err_msg=message)
