"""Did you mean: a name that there is not is answered with the one that was meant."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import tinynet as tn
from tinynet.base.hints import _DONE_OTHERWISE, did_you_mean


def net() -> tn.Sequential:
    return tn.Sequential(tn.Linear(1, 1), backend="numpy", seed=0)


def notebook_model() -> tn.notebook.SimpleModel:
    return tn.notebook.SimpleModel(lambda stack, x, y, rate, loss: (stack, loss))


def difference(prediction: Any, target: Any) -> Any:
    return prediction - target


ARGUMENTS: dict[str, tuple[Callable[[], Any], str]] = {
    "fit(epoch)": (lambda: net().fit([[0.0]], [0.0], epoch=3), r"fit\(\) has no argument 'epoch'.*mean 'epochs'\?"),
    "fit(lr)": (lambda: net().fit([[0.0]], [0.0], lr=3), r"argument 'lr'\. It belongs to the optimizer, as in opt"),
    "fit(rates)": (
        lambda: net().fit([[0.0]], [0.0], rates=3),
        r"fit\(\) has no argument 'rates'\. It has x, y, loss, opti",
    ),
    "fit(batch)": (lambda: net().fit([[0.0]], [0.0], batch=3), "mean 'batch_size'"),
    "evaluate(weight)": (lambda: net().evaluate([[0.0]], [0.0], weight=[1.0]), "mean 'sample_weight'"),
    "Sequential(random_state)": (lambda: tn.Sequential(tn.Linear(1, 1), random_state=0), "mean 'seed'"),
    "Ensemble(n_estimators)": (lambda: tn.Ensemble(net(), n_estimators=2), "mean 'n_models'"),
    "Ensemble.fit(epoch)": (lambda: tn.Ensemble(net(), 2).fit([[0.0]], [0.0], epoch=1), "mean 'epochs'"),
    "Ensemble.best(direction)": (lambda: tn.Ensemble(net(), 2).best(direction="max"), "mean 'mode'"),
    "sweep(epoch)": (lambda: tn.sweep(net, {}, [[0.0]], [0.0], epoch=1), "mean 'epochs'"),
    "load(backends)": (lambda: tn.load("x.npz", backends="numpy"), "mean 'backend'"),
    "gradient_check(criterion)": (lambda: tn.gradient_check(net(), [[0.0]], [0.0], criterion="mse"), "mean 'loss'"),
    "SGD(lr)": (lambda: tn.SGD(lr=0.1), r"SGD\(\) has no argument 'lr'\. Did you mean 'learning_rate'\?"),
    "Adam(beta_1)": (lambda: tn.Adam(beta_1=0.5), "mean 'beta1'"),
    "Linear(units)": (lambda: tn.Linear(3, units=4), "mean 'n_out'"),
    "Linear(activation)": (lambda: tn.Linear(3, 4, activation="relu"), r"of its own: tn\.Linear\(4, 8\), tn\.ReLU"),
    "SimpleModel.run(batch_size)": (lambda: notebook_model().run([[0.0]], [[0.0]], batch_size=1), "mean 'batchSize'"),
    "fit(patience)": (lambda: net().fit([[0.0]], [0.0], patience=3), r"callbacks=tn\.EarlyStopping"),
    "Linear(rate)": (lambda: tn.Linear(3, 4, rate=0.1), "It has n_in, n_out, bias"),
    "Dropout(p)": (lambda: tn.Dropout(p=0.5), "mean 'rate'"),
    "Huber(deltas)": (lambda: tn.Huber(deltas=0.5), "mean 'delta'"),
    "StepDecay(gamma)": (lambda: tn.StepDecay(0.1, 2, gamma=0.5), "mean 'factor'"),
    "LogUniform(lo)": (lambda: tn.LogUniform(lo=1e-3, high=1.0), "mean 'low'"),
    "Normal(sd)": (lambda: tn.Normal(sd=0.5), "mean 'std'"),
    "EarlyStopping": (lambda: tn.EarlyStopping(restore_best_weights=True), "mean 'restore_best'"),
    "ReduceLROnPlateau": (lambda: tn.ReduceLROnPlateau(min_lr=0.1), "mean 'min_learning_rate'"),
    "Checkpoint": (lambda: tn.Checkpoint("x", period=2), "mean 'every'"),
    "LevenbergMarquardt(mu)": (lambda: tn.LevenbergMarquardt(mu=1e-3), "mean 'damping'"),
    "fit(x)": (lambda: net().fit([[0.0]]), r"fit\(\) needs the argument 'y', as in fit\(x, y\)\."),
    "fit by place": (lambda: net().fit([[0.0]], [0.0], "mse"), r"fit\(\) takes x and y by place; got 3 .* loss=\.\.\."),
    "Linear(4)": (lambda: tn.Linear(4), r"Linear\(\) needs the argument 'n_out', as in Linear\(n_in, n_out\)\."),
    "Normalize()": (lambda: tn.Normalize(), r"Normalize\(\) needs the argument 'n', as in Normalize\(n\)\."),
    "LeakyReLU(1, 2)": (
        lambda: tn.LeakyReLU(1, 2),
        r"takes negative_slope by place; got 2 arguments\. Leave",
    ),
    "Normalize(1, 2)": (lambda: tn.Normalize(1, 2), r"columns expects places of columns, such as \[0, 2\]; got 2"),
    "a loss of the user's": (lambda: net().fit([[0.0]], [0.0], loss=lambda p, t: p - t), r"by tn\.ElementwiseLoss\("),
    "metric": (
        lambda: net().fit([[0.0], [1.0]], [0.0, 1.0], metrics=difference),
        r"returned .* shape \(2, 1\)",
    ),
    "CosineDecay(0.1)": (lambda: tn.CosineDecay(0.1), "needs the argument 'epochs'"),
    "LogUniform()": (lambda: tn.LogUniform(), r"needs the arguments 'low' and 'high', as in LogUniform\(low, high\)"),
    "a layer's class": (lambda: tn.Sequential(tn.Linear(1, 1), tn.ReLU), r"mean an instance, ReLU\(\)\?"),
    "a layer's name": (lambda: tn.Sequential(tn.Linear(1, 1), "relu"), "mean 'ReLU'"),
    "a callback's class": (
        lambda: net().fit([[0.0]], [0.0], callbacks=tn.EarlyStopping),
        r"an instance, EarlySt.*\(\)",
    ),
    "no figure": (lambda: tn.EarlyStopping(5), "given by its name, such as 'val_loss'; got 5"),
    "a rate of the user's": (lambda: tn.Adam(lambda epoch: 0.1), "a number or a Schedule; got <function"),
    "a seed": (lambda: tn.Sequential(tn.Linear(1, 1), seed="a"), "seed must be a whole number; got 'a'"),
    "no network": (lambda: tn.Ensemble(net, 3), "expects a Sequential, of which it trains copies; got <function"),
}


@pytest.mark.parametrize(("call", "message"), ARGUMENTS.values(), ids=ARGUMENTS.keys())
def test_a_wrong_argument_is_answered_with_the_right_one(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()


def constructors() -> dict[str, tuple[Any, str]]:
    """Every public class that is made with arguments, and the name of its first one."""
    found = {}
    for name in tn.__all__:
        made = getattr(tn, name)
        if not inspect.isclass(made) or issubclass(made, BaseException):
            continue
        named = [p.name for p in inspect.signature(made).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
        if named:
            found[name] = made, named[0]
    return found


NOT_MADE_BY_USERS = {"GradientCheck", "EnsembleHistory", "SweepResult"}


@pytest.mark.parametrize("name", sorted(constructors().keys() - NOT_MADE_BY_USERS))
def test_every_public_class_hints(name: str) -> None:
    made, first = constructors()[name]
    with pytest.raises(TypeError, match=f"has no argument '{first.upper()}'. Did you mean '{first}'"):
        made(**{first.upper(): 1})


ESTIMATORS: dict[str, tuple[str, dict[str, Any], str]] = {
    "epochs": ("MLPClassifier", {"epochs": 10}, "mean 'max_iter'"),
    "lr": ("MLPRegressor", {"lr": 0.1}, "mean 'learning_rate_init'"),
    "seed": ("MLPRegressor", {"seed": 0}, "mean 'random_state'"),
    "layers": ("MLPClassifier", {"hidden_layers": (3,)}, "mean 'hidden_layer_sizes'"),
}


@pytest.mark.parametrize(("name", "given", "message"), ESTIMATORS.values(), ids=ESTIMATORS.keys())
def test_the_estimators_hint(name: str, given: dict[str, Any], message: str) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install scikit-learn")
    from tinynet import estimators

    with pytest.raises(TypeError, match=message):
        getattr(estimators, name)(**given)


NAMES = {"Relu": "ReLU", "MSE": "MeanSquaredError", "Dense": "Linear", "sequential": "Sequential", "EarlyStop": None}
NAMES |= {"LearningRateScheduler": "Schedule", "fitnet": "Sequential"}
NAMES |= {"BCEWithLogitsLoss": "BinaryCrossEntropy", "CrossEntropyLoss": "CrossEntropy", "load_model": "load"}


@pytest.mark.parametrize(("given", "meant"), NAMES.items())
def test_a_name_that_is_not_in_tinynet(given: str, meant: str | None) -> None:
    with pytest.raises(AttributeError, match=f"no attribute '{given}'. Did you mean '{meant or 'EarlyStopping'}'"):
        getattr(tn, given)


def test_a_name_that_is_like_no_other_gets_no_hint() -> None:
    with pytest.raises(AttributeError, match=r"has no attribute 'transformer'$"):
        _ = tn.transformer
    assert not hasattr(tn, "_private")


VALUES: dict[str, tuple[dict[str, Any], str]] = {
    "loss": ({"loss": "categorical_crossentropy"}, "mean 'cross_entropy'"),
    "loss in capitals": ({"loss": "MSE"}, "mean 'mse'"),
    "optimizer": ({"optimizer": "Adam"}, "mean 'adam'"),
    "metric": ({"metrics": "acc"}, "mean 'accuracy'"),
    "letters in another order": ({"loss": "mes"}, "mean 'mse'"),
    "MATLAB's": ({"optimizer": "trainscg"}, "mean 'lbfgs'"),
    "samples as columns": ({"x": [[0.0, 1.0]]}, r"Samples are rows: use x\.T\."),
    "validation data": ({"validation_data": ([[0.0]], [0.0, 1.0])}, "validation_data: x and y must have as many"),
    "no validation": ({"callbacks": tn.EarlyStopping()}, "reports loss, learning_rate. Pass validation_data"),
    "a figure": (
        {"callbacks": tn.EarlyStopping("val_los", mode="min"), "validation_data": ([[0.0]], [0.0])},
        r"loss, val_loss, learning_rate\. Did you mean 'val_loss'",
    ),
}


@pytest.mark.parametrize(("options", "message"), VALUES.values(), ids=VALUES.keys())
def test_a_value_that_other_libraries_have(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        net().fit(**{"x": [[0.0]], "y": [0.0]} | options)


def test_classes_stand_for_what_they_make() -> None:
    net().fit([[0.0]], [0.0], optimizer=tn.SGD, loss=tn.MeanSquaredError)


@pytest.mark.parametrize(
    ("name", "meant"), {"on_epoch_ends": "on_epoch_end", "on_batch_end": "on_train_batch_end"}.items()
)
def test_a_hook_that_would_never_be_called_is_refused(name: str, meant: str) -> None:
    with pytest.raises(TypeError, match=f"Mine.{name} would never be called: there is no such hook. .* '{meant}'"):
        type("Mine", (tn.Callback,), {name: lambda self, epoch, logs: None})
    type("Mine", (tn.Callback,), {"on_fire": lambda self: None})  # The user's own business.


def test_a_figure_that_was_not_recorded() -> None:
    history = net().fit([[0.0]], [0.0])
    with pytest.raises(
        KeyError, match=r"'los' was not recorded; there is 'loss', 'learning_rate'\. Did you mean 'loss'"
    ):
        _ = history["los"]


ATTRIBUTES = {"score": "evaluate", "state_dict": "get_weights", "count_params": "n_parameters", "evalute": "evaluate"}


@pytest.mark.parametrize(("name", "meant"), ATTRIBUTES.items())
def test_an_attribute_that_models_have_not(name: str, meant: str) -> None:
    for model in (net(), tn.Ensemble(net(), 2)):
        with pytest.raises(AttributeError, match=f"'{type(model).__name__}' object .*'{name}'. Did you mean '{meant}'"):
            getattr(model, name)


OTHERWISE: dict[str, tuple[Callable[[], Any], str]] = {
    "Keras's compile": (lambda: net().compile(loss="mse"), r"'compile'\. fit takes all that: net\.fit"),
    "Keras's add": (lambda: net().add(tn.ReLU()), "layers are given at once"),
    "PyTorch's cuda": (lambda: net().cuda(), r"net\.to\('gpu'\)"),
    "scikit-learn's predict_proba": (lambda: net().predict_proba([[0.0]]), r"argmax\(axis=1\) is the class"),
    "MATLAB's trainParam": (lambda: net().trainParam.goal, "tn.LevenbergMarquardt"),
    "MATLAB's perform": (lambda: net().perform(0, 1), "mean 'evaluate'"),
    "PyTorch's nn": (lambda: tn.nn.Linear, "in tinynet itself"),
    "Keras's Flatten": (lambda: tn.Flatten(), r"x\.reshape\(len\(x\), -1\)"),
    "another kind of network": (lambda: tn.Conv2d(1, 2, 3), "dense networks only"),
    "MATLAB's tansig": (lambda: tn.tansig, "mean 'Tanh'"),
    "Keras's weights of a layer": (lambda: net().layers[0].get_weights(), "'Linear' object .* mean 'weight'"),
    "a bias": (lambda: net().layers[0].b, "mean 'bias'"),
    "scikit-learn's transform": (lambda: tn.Table.fit([{"a": 1}]).transform([{"a": 1}]), "mean 'array'"),
    "fit of a SimpleModel": (lambda: notebook_model().fit([[0.0]], [[0.0]]), "mean 'run'"),
    "a figure": (lambda: net().fit([[0.0]], [0.0]).loss, r"'loss'\. It is history\['loss'\]\."),
}


@pytest.mark.parametrize(("ask", "message"), OTHERWISE.values(), ids=OTHERWISE.keys())
def test_what_is_done_in_another_way_elsewhere(ask: Callable[[], Any], message: str) -> None:
    with pytest.raises(AttributeError, match=message):
        ask()


def test_every_way_that_is_named_is_reached() -> None:
    """A row of the table is for a name that ours, or the letters of ours, do not answer before it."""
    for beside, others, remedy in _DONE_OTHERWISE:
        for other in others.split():
            assert did_you_mean(other, [beside]) == f" {remedy}"


def test_what_one_model_has_and_many_have_not() -> None:
    with pytest.raises(AttributeError, match=r"'to_c'\. One model has it: models\[0\]\.to_c, or models\.best\(\)"):
        _ = tn.Ensemble(net(), 2).to_c  # type: ignore[attr-defined]


def test_a_property_that_fails_says_why() -> None:
    class Broken(tn.Sequential):
        @property
        def area(self) -> int:
            return self.width  # type: ignore[attr-defined, no-any-return]

    with pytest.raises(AttributeError, match="no attribute 'width'"):
        _ = Broken(tn.Linear(1, 1)).area


class Scaled(tn.Layer):
    """A layer of the user's."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor


class Anything(tn.Callback):
    """A callback of the user's that takes any name."""

    def __init__(self, **given: Any) -> None:
        self.given = given


def test_classes_of_the_users_hint_too() -> None:
    with pytest.raises(TypeError, match=r"Scaled\(\) has no argument 'facto'. Did you mean 'factor'"):
        Scaled(facto=2.0)
    assert Anything(whatever=1).given == {"whatever": 1}


def test_signatures_and_pickles_are_as_without_hints() -> None:
    assert list(inspect.signature(tn.StepDecay).parameters) == ["initial", "every", "factor"]
    assert list(inspect.signature(tn.SGD).parameters)[:2] == ["learning_rate", "momentum"]
    assert "epochs" in inspect.signature(tn.Sequential.fit).parameters
    assert pickle.loads(pickle.dumps(tn.StepDecay(0.1, 2))) == tn.StepDecay(0.1, 2)
