"""Trainings in TF32 and bfloat16: how close they are, who cannot have them, and where the setting goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu.fake_cupy import Machine
from precision_networks import OPTIMIZERS, TOLERANCES, X, Y, difference, each_precision, network, plan_of, trained

import tinynet as tn

pytestmark = pytest.mark.usefixtures("cp")


# Trainings.


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@each_precision
def test_a_training_in_less_precision_is_close_to_numpys(precision: str, optimizer: str) -> None:
    ours, theirs = trained(precision=precision, optimizer=optimizer), trained("numpy", optimizer)
    assert ours.history is not None
    assert theirs.history is not None
    np.testing.assert_allclose(ours.history["loss"], theirs.history["loss"], rtol=TOLERANCES[precision])
    scale = np.abs(theirs.predict(X)).max()
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=0, atol=3 * TOLERANCES[precision] * scale)
    assert ours.flat_parameters().dtype == np.float32


def test_precisions_differ_in_the_order_of_their_bits() -> None:
    exact = trained("numpy", "descent")
    errors = [difference(trained(optimizer="descent", precision=p), exact) for p in ("float32", "tf32", "bf16")]
    assert errors[0] < 1e-5 < 4 * errors[0] + 1e-5 < errors[1] < errors[2] / 3 < 0.05


@each_precision
def test_everything_a_model_computes_is_in_its_precision(precision: str) -> None:
    net, exact = network(precision=precision), network("numpy")
    results = [
        (net.predict(X), exact.predict(X)),
        (net.forward(X), exact.forward(X)),
        (net.backward(Y), exact.backward(Y)),
        (np.array(net.evaluate(X, Y, loss="mse")["loss"]), np.array(exact.evaluate(X, Y, loss="mse")["loss"])),
    ]
    for ours, theirs in results:
        error = np.abs(ours - theirs).max() / np.abs(theirs).max()
        assert 1e-6 < error < 3 * TOLERANCES[precision]


@each_precision
def test_models_of_an_ensemble_train_in_the_precision_of_their_network(precision: str) -> None:
    models = tn.Ensemble(network(precision=precision), 2, [7, 8])
    history = models.fit(X, Y, optimizer=tn.SGD(0.05), epochs=3, batch_size=16)
    alone = trained(optimizer="descent", precision=precision)
    how = {"tf32": "TF32", "bf16": "bfloat16"}[precision]
    assert history.plan.startswith(f"batched: products of all models at once by cuBLAS in {how}, one pass")
    np.testing.assert_allclose(models[0].flat_parameters(), alone.flat_parameters(), rtol=0, atol=1e-6)
    assert difference(models[0], trained("numpy", "descent")) > 1e-4
    assert models[0].precision == models[[1, 0]].program.precision == precision
    with pytest.raises(ValueError, match="dtype, precision and backend"):
        tn.Ensemble.concatenate([models, tn.Ensemble(network(), 1)])
    assert models.to("numpy", precision="float32").program.precision == "float32"


def test_layers_and_losses_of_the_user_train_in_the_precision_of_their_model() -> None:
    class Doubled(tn.Layer):
        def forward(self, x: Any) -> Any:
            return 2 * x

        def backward(self, grad: Any) -> Any:
            return 2 * grad

    nets = [
        tn.Sequential(tn.Linear(20, 3), Doubled(), seed=1, backend=backend, **settings)
        for backend, settings in (("gpu", {"precision": "bf16"}), ("numpy", {}))
    ]
    plans = [plan_of(net, epochs=2, optimizer=tn.SGD(0.05)) for net in nets]
    assert plans[0] == "loop: custom layer Doubled; cuBLAS in bfloat16"
    error = np.abs(nets[0].flat_parameters() - nets[1].flat_parameters()).max()
    assert 1e-6 < error < 1e-2


# What cannot be had.


def test_there_are_three_precisions() -> None:
    with pytest.raises(ValueError, match="precision must be one of 'bf16', 'float32', 'tf32'; got 'fp16'"):
        network(precision="fp16")


@each_precision
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_backends_on_the_processor_have_none_of_it(backend: str, precision: str) -> None:
    with pytest.raises(
        ValueError, match=rf"precision='{precision}' needs the GPU backend; got the backend '{backend}'"
    ):
        network(backend, precision=precision)
    program = network(backend).program
    lowered = tn.program.Program(program.ops, precision=precision)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs the GPU backend"):
        tn.backends.get_backend(backend).plan(lowered)


@each_precision
def test_a_float64_model_has_none_of_it(precision: str) -> None:
    with pytest.raises(
        ValueError, match=rf"precision='{precision}' is for models of dtype float32; got dtype='float64'"
    ):
        network(precision=precision, dtype="float64")
    assert network(dtype="float64", precision="float32").precision == "float32"


@each_precision
def test_an_old_gpu_says_so_before_anything_runs(machine: Machine, precision: str) -> None:
    net = network()
    before = net.flat_parameters()
    machine.compute_capability = "75"
    told = rf"precision='{precision}' needs a GPU of compute capability 8.0 or higher; got GPU 0, which has 7.5"
    with pytest.raises(ValueError, match=told):
        network(precision=precision)
    with pytest.raises(ValueError, match=told):
        net.to("gpu", precision=precision)
    assert (net.precision, network(precision="float32").precision) == ("float32", "float32")
    np.testing.assert_array_equal(net.flat_parameters(), before)
    machine.compute_capability = "120"
    assert network(precision=precision).precision == precision


# Where it goes, and where it does not.


@each_precision
def test_copies_and_moves_keep_the_precision(precision: str) -> None:
    net = network(precision=precision)
    assert net.clone().precision == net.to("gpu").precision == precision
    assert repr(net).endswith(f"backend='cupy', precision='{precision}')")
    assert net.clone(precision="float32").precision == "float32"
    assert net.clone("float64", precision="float32").dtype == "float64"
    with pytest.raises(ValueError, match="dtype float32"):
        net.clone("float64")
    before = net.flat_parameters()
    with pytest.raises(ValueError, match="needs the GPU backend"):
        net.to("numpy")
    assert (net.backend.name, net.precision) == ("cupy", precision)
    assert net.to("numpy", precision="float32").precision == "float32"
    np.testing.assert_array_equal(net.flat_parameters(), before)
    np.testing.assert_allclose(net.predict(X), network("numpy").predict(X), rtol=1e-6)


def test_a_change_of_precision_changes_the_next_result() -> None:
    net = network()
    exact = net.predict(X)
    assert np.abs(net.to("gpu", precision="bf16").predict(X) - exact).max() > 1e-4
    np.testing.assert_array_equal(net.to("gpu", precision="float32").predict(X), exact)


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_files_hold_weights_and_no_precision(ending: str, tmp_path: Path) -> None:
    if ending == ".safetensors":
        pytest.importorskip("safetensors")
    net = trained(precision="bf16")
    net.save(tmp_path / f"net{ending}")
    for backend in ("gpu", "numpy"):
        again = tn.load(tmp_path / f"net{ending}", backend=backend)
        assert again.precision == "float32"
        np.testing.assert_array_equal(again.flat_parameters(), net.flat_parameters())


def test_gradients_are_checked_in_float64_whatever_the_precision() -> None:
    assert tn.gradient_check(network(precision="bf16"), X[:2], Y[:2]).max_relative_error < 1e-6
