"""One model trains one at a time; meanwhile others read it as it was at one moment."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from threads import at_once, hurried

import tinynet as tn
from tinynet import notebook
from tinynet.base.guard import Guard
from tinynet.base.turns import Turn

RNG = np.random.default_rng(6)
X = RNG.normal(size=(48, 3))
Y = X[:, :1] * 2.0


class Doubled(tn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.add_parameter("factor", (1,), init=2.0)

    def forward(self, x: Any) -> Any:
        self.x = x
        return x * self.factor

    def backward(self, grad: Any) -> Any:
        self.factor_grad[...] = (grad * self.x).sum()
        return grad * self.factor


def network(backend: str = "numpy", *layers: tn.Layer) -> tn.Sequential:
    return tn.Sequential(tn.Linear(3, 6), tn.Tanh(), tn.Linear(6, 1), *layers, seed=0, backend=backend)


def models(backend: str = "numpy") -> tn.Ensemble:
    return tn.Ensemble(network(backend), 3)


class Calling(tn.Callback):
    """Calls something at the end of each epoch, and keeps the error."""

    def __init__(self, call: Callable[[Any], Any]) -> None:
        self.call = call

    def on_epoch_end(self, epoch: int, logs: Any) -> None:
        with pytest.raises(tn.ModelInTrainingError, match="not in training; got one that this thread is training") as e:
            self.call(self.model)
        self.error = e.value


REFUSED: dict[str, Callable[[Any], Any]] = {
    "fit": lambda net: net.fit(X, Y),
    "fit with the optimizer of the training": lambda net: net.fit(X, Y, optimizer=net._optimizer),
    "set_weights": lambda net: net.set_weights(net.get_weights()),
    "to": lambda net: net.to("numpy"),
    "forward": lambda net: net.forward(X),
    "backward": lambda net: net.backward(Y),
    "zero_grad": lambda net: net.zero_grad(),
    "Optimizer.step": lambda net: tn.SGD(0.1).step(net),
    "prepare_optimizer": lambda net: net.prepare_optimizer(tn.SGD(0.1)),
    "adapt": lambda net: net.layers[0].adapt(X * 2.0),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_a_callback_may_not_do_is_refused_and_changes_nothing(what: str) -> None:
    def make() -> tn.Sequential:
        return tn.Sequential(tn.Normalize(3).adapt(X), tn.Linear(3, 6), tn.Dropout(0.5), tn.Linear(6, 1), seed=0)

    with tn.use_backend("numpy"):
        plain, called, watching = make(), make(), Calling(REFUSED[what])
    plain.fit(X, Y, epochs=3)
    history = called.fit(X, Y, epochs=3, callbacks=watching)
    assert str(watching.error).startswith(f"{what.split(' ')[0]} expects")
    assert called.history is history
    assert history.history == plain.history.history  # type: ignore[union-attr]
    np.testing.assert_array_equal(called.flat_parameters(), plain.flat_parameters())


@pytest.mark.parametrize("call", [lambda m: m.fit(X, Y), lambda m: m.to("numpy")], ids=["fit", "to"])
def test_ensembles_refuse_as_well(call: Callable[[Any], Any]) -> None:
    plain, called = models(), models()
    plain.fit(X, Y, epochs=3)
    called.fit(X, Y, epochs=3, callbacks=Calling(call))
    np.testing.assert_array_equal(called.state.parameters, plain.state.parameters)


def test_a_fit_within_a_batch_of_compiled_training_is_refused() -> None:
    def nested(net: Any) -> None:
        net.fit(X, Y, optimizer="sgd")

    net = network("numba")
    with pytest.raises(tn.ModelInTrainingError):
        net.fit(X, Y, epochs=2, callbacks=tn.LambdaCallback(on_epoch_end=lambda epoch, logs: nested(net)))
    net.fit(X, Y, epochs=2)  # The model is free again.


def test_a_callback_may_read_copy_and_change_arrays_in_place(tmp_path: Any) -> None:
    class Reading(tn.Callback):
        def on_epoch_end(self, epoch: int, logs: Any) -> None:
            net = self.model
            np.testing.assert_array_equal(net.predict(X), net.clone().predict(X))
            net.evaluate(X, Y)
            net.save(tmp_path / "net.npz")
            net.forward(X, training=False)  # type: ignore[attr-defined]
            net.clone().fit(X, Y)  # type: ignore[attr-defined]
            net.layers[0].weight[...] *= 0.5
            net.layers[0].weight = net.layers[0].weight * 0.5

    network().fit(X, Y, epochs=2, callbacks=Reading())


def test_weights_may_be_set_when_the_training_is_over() -> None:
    class Last(tn.Callback):
        def on_train_end(self, logs: Any) -> None:
            self.model.set_weights([np.zeros_like(array) for array in self.model.get_weights()])

    net = network()
    net.fit(X, Y, callbacks=Last())
    assert not net.flat_parameters().any()


def test_threads_that_train_one_model_train_it_one_after_the_other(backend: str) -> None:
    def adam(net: tn.Sequential) -> None:
        net.fit(X, Y, epochs=6, optimizer=tn.Adam(0.01))

    def momentum(net: tn.Sequential) -> None:
        net.fit(X, Y, epochs=6, optimizer=tn.SGD(0.01, momentum=0.9))

    def serial(*fits: Callable[[tn.Sequential], None]) -> bytes:
        net = network(backend)
        for fit in fits:
            fit(net)
        return net.flat_parameters().tobytes()

    expected = {serial(adam, momentum), serial(momentum, adam)}
    for _ in range(4):
        net = network(backend)
        at_once(lambda net=net: adam(net), lambda net=net: momentum(net))  # type: ignore[misc]
        assert net.flat_parameters().tobytes() in expected


@pytest.mark.parametrize("what", ["set_weights", "to", "forward", "step"])
def test_other_threads_wait_for_the_end_of_a_training(what: str) -> None:
    begun, calls = threading.Event(), []
    net = network()
    zeros = [np.zeros_like(array) for array in net.get_weights()]
    call = {
        "set_weights": lambda: net.set_weights(zeros),
        "to": lambda: net.to("numpy"),
        "forward": lambda: net.forward(X),
        "step": lambda: tn.SGD(0.1).step(net),
    }[what]

    class Slow(tn.Callback):
        def on_epoch_end(self, epoch: int, logs: Any) -> None:
            begun.set()
            other.join(0.01)
            calls.append("epoch")

    def later() -> None:
        begun.wait()
        call()
        calls.append(what)

    other = threading.Thread(target=later, daemon=True)
    other.start()
    net.fit(X, Y, epochs=3, callbacks=Slow())
    other.join()
    assert calls == ["epoch"] * 3 + [what]


# -- one moment ------------------------------------------------------------------------------------------------------


def moments(model: Any, train: Callable[[Any], Any], output: Callable[[], Any]) -> tuple[list[bytes], set[bytes]]:
    """Return the outputs after each epoch, and what another thread sees while it is trained again."""
    whole = [np.array(output()).tobytes()]
    train(tn.LambdaCallback(on_epoch_end=lambda epoch, logs: whole.append(np.array(output()).tobytes())))
    done, seen = threading.Event(), set()

    def watch() -> None:
        while not done.is_set():
            seen.add(np.array(output()).tobytes())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    with hurried():
        try:
            train(())
        finally:
            done.set()
            watcher.join()
    return whole, seen


@pytest.mark.parametrize("layers", [(), (Doubled,)], ids=["built in", "custom"])
def test_a_prediction_meanwhile_is_that_of_whole_updates(backend: str, layers: Any) -> None:
    net = network(backend, *(layer() for layer in layers))
    start = net.get_weights()

    def train(callbacks: Any) -> None:
        net.rng = np.random.default_rng(0)
        net.set_weights(start)
        # One update an epoch, so that all the moments are known.
        net.fit(X, Y, epochs=60, batch_size=48, optimizer=tn.SGD(0.1), shuffle=False, callbacks=callbacks)

    whole, seen = moments(net, train, lambda: net.predict(X))
    assert seen <= set(whole)


def test_an_ensemble_meanwhile_is_that_of_whole_epochs() -> None:
    nets = models()
    start = nets.state.parameters.copy()

    def train(callbacks: Any) -> None:
        with nets.changing():
            nets.state.parameters[...] = start
        nets.fit(X, Y, epochs=40, batch_size=48, optimizer=tn.SGD(0.1), shuffle=False, callbacks=callbacks)

    whole, seen = moments(nets, train, lambda: nets.mean(X))
    assert seen <= set(whole)


def test_evaluation_and_metrics_are_of_the_same_weights() -> None:
    net, done = network(), threading.Event()

    def train() -> None:
        try:
            for seed in range(40):
                net.set_weights([np.full_like(array, seed / 40) for array in net.get_weights()])
        finally:
            done.set()

    def watch() -> None:
        while not done.is_set():
            figures = net.evaluate(X, Y, loss="mse", metrics="mse")
            assert figures["loss"] == pytest.approx(figures["mse"], rel=1e-5)

    at_once(train, watch, watch)


# -- the parts -------------------------------------------------------------------------------------------------------


def test_a_turn_is_handed_to_those_who_wait() -> None:
    turn, taken, done = Turn(), [0], threading.Event()

    def often() -> None:
        while not done.is_set():
            with turn, turn:
                taken[0] += 1

    def rarely() -> None:
        try:
            for _ in range(20):
                with turn:
                    assert turn.mine
        finally:
            done.set()

    at_once(often, rarely)
    assert not turn.taken


class Pair:
    """Two numbers that are equal at every moment."""

    def __init__(self) -> None:
        self.values = [0, 0]
        self.guard = Guard(self.now, self.copied)

    def now(self) -> list[int]:
        return self.values

    def copied(self) -> list[int]:
        return list(self.values)

    def change(self) -> None:
        with self.guard.changing():
            self.values[0] += 1
            self.values[1] += 1


def test_no_reader_sees_half_a_change() -> None:
    pair, done = Pair(), threading.Event()

    def write() -> None:
        try:
            with pair.guard.alone("write"):
                for _ in range(2000):
                    pair.change()
        finally:
            done.set()

    def read() -> None:
        while not done.is_set():
            first, second = pair.guard.read(lambda values: (values[0], values[1]))
            assert first == second
            first, second = pair.guard.between(lambda: (pair.values[0], pair.values[1]))
            assert first == second

    at_once(write, read, read, read)
    assert pair.values == [2000, 2000]


def test_an_error_of_a_reader_is_raised_and_one_of_a_change_frees_the_model() -> None:
    pair = Pair()
    with pytest.raises(KeyError):
        pair.guard.read(lambda values: {}["missing"])
    with pytest.raises(KeyError), pair.guard.changing():
        raise KeyError
    pair.change()
    assert pair.guard.read(list) == [1, 1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_that_is_forked_while_another_thread_trains_is_free() -> None:
    pair, inside, over = Pair(), threading.Event(), threading.Event()

    def train() -> None:
        with pair.guard.alone("train"), pair.guard.changing():
            inside.set()
            over.wait()

    trainer = threading.Thread(target=train, daemon=True)
    trainer.start()
    inside.wait()
    child = os.fork()
    if child == 0:
        pair.guard.read(list)
        pair.change()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    over.set()
    trainer.join()


def test_the_notebooks_model_runs_one_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    def nested(layerStack: Any, x: Any, y: Any, learningRate: Any, loss: Any) -> Any:
        model.run(X, Y)

    model = notebook.SimpleModel(nested)
    with pytest.raises(tn.ModelInTrainingError, match="run expects a model that is not in training"):
        model.run(X, Y)
    capsys.readouterr()
