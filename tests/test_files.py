"""Model files: what comes back from them, and what is refused."""

from __future__ import annotations

import io
import json
import os
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from file_networks import X, network
from hypothesis import given
from hypothesis import strategies as st

import tinynet as tn
from tinynet.exchange.modelfile import describe
from tinynet.exchange.safetensors import write_safetensors
from tinynet.layers import LAYERS


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_comes_back_bit_identical(backend: str, dtype: str, tmp_path: Path) -> None:
    net = network(backend, dtype)
    net.metadata = {"classes": ["a", "b"], "note": "\u03b1"}
    net.fit(X, [0, 1, 0, 1, 0, 1, 1], loss=tn.CrossEntropy(from_logits=False))
    net.save(tmp_path / "net.npz")
    back = tn.load(tmp_path / "net.npz", backend=backend)
    assert back.predict(X).tobytes() == net.predict(X).tobytes()
    assert repr(back) == repr(net)
    assert back.metadata == net.metadata
    assert repr(back.loss) == repr(net.loss)
    assert back.program == net.program


def test_a_model_of_one_backend_loads_on_another(tmp_path: Path) -> None:
    net = network("numba")
    net.save(tmp_path / "net.npz")
    np.testing.assert_allclose(tn.load(tmp_path / "net.npz", backend="numpy").predict(X), net.predict(X), rtol=1e-6)


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_every_layer_can_be_saved(name: str, tmp_path: Path) -> None:
    arguments: dict[str, tuple[Any, ...]] = {
        "Linear": (3, 3),
        "Normalize": (3,),
        "Denormalize": (3,),
        "LeakyReLU": (0.3,),
        "ELU": (0.7,),
        "Dropout": (0.25,),
        "Increasing": (3,),
        "MeanVariance": (2, 0.1),
    }
    arguments["Activation"] = (abs,)
    arguments |= {"LayerNorm": (3, 1e-3), "BatchNorm": (3, 1e-3, 0.2, False), "Embedding": (4, 1, [2], 3)}
    arguments["Residual"] = (tn.Linear(3, 5), tn.Dropout(0.1), tn.Residual(tn.Linear(5, 3)))
    layer = LAYERS[name](*arguments.get(name, ()))
    if isinstance(layer, tn.Normalize | tn.Denormalize):
        layer.adapt(X)
    net = tn.Sequential(layer, tn.Linear(layer.n_out or 3, 2), backend="numpy")
    net.save(tmp_path / "net.npz")
    assert tn.load(tmp_path / "net.npz", backend="numpy").program == net.program


def test_numpy_opens_a_model_file(tmp_path: Path) -> None:
    net = network()
    net.save(tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz", allow_pickle=False) as arrays:
        assert np.array_equal(arrays["layer1.weight"], net.layers[1].weight)


def rewritten(path: Path, change: dict[str, Any] | None = None, drop: str = "", extra: str = "") -> Path:
    """Copy a model file with its header changed, an array left out, or one added."""
    out = path.with_name("changed.npz")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "header.json":
                data = json.dumps({**json.loads(data), **(change or {})}).encode()
            if name != drop:
                new.writestr(name, data)
        if extra:
            new.writestr(extra, b"x")
    return out


LINEAR = {"kind": "Linear", "config": {"n_in": 3, "n_out": 4, "bias": True}}
HUGE = {"kind": "Linear", "config": {"n_in": 10**9, "n_out": 10**9, "bias": True}}
CHANGES: dict[str, dict[str, Any]] = {
    "newer version": {"change": {"version": 99}},
    "version of no kind": {"change": {"version": "1"}},
    "foreign format": {"change": {"format": "other"}},
    "unknown layer": {"change": {"layers": [{"kind": "os.system", "config": {}}]}},
    "forged sizes": {"change": {"layers": [HUGE]}},
    "layers that do not fit": {"change": {"layers": [LINEAR, LINEAR]}},
    "no layers": {"change": {"layers": []}},
    "layers of no kind": {"change": {"layers": 3}},
    "foreign arguments": {"change": {"layers": [{"kind": "Linear", "config": {"evil": 1}}]}},
    "odd dtype": {"change": {"dtype": "object"}},
    "unknown loss": {"change": {"loss": {"kind": "Evil", "config": {}}}},
    "arrays of no kind": {"change": {"arrays": [1]}},
    "missing array": {"drop": "layer1.weight.npy"},
    "additional array": {"extra": "more.npy"},
    "no header": {"drop": "header.json"},
    "no metadata": {"change": {"metadata": 1}},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_file_that_does_not_hold_together_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    network().save(tmp_path / "net.npz")
    with pytest.raises(tn.ModelFileError):
        tn.load(rewritten(tmp_path / "net.npz", **change))


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "empty.npz").write_bytes(b"")
    for name, reason in {"arrays": "without a header", "text": "begins with b'hello'", "empty": "truncated"}.items():
        with pytest.raises(tn.ModelFileError, match=reason):
            tn.load(tmp_path / f"{name}.npz")


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        tn.load(tmp_path / "nothing.npz")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "net.npz"
    network().save(path)
    return path


@given(share=st.floats(0.0, 0.999))
def test_a_truncated_file_is_refused(saved: Path, share: float) -> None:
    data = saved.read_bytes()
    path = saved.with_name("truncated.npz")
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(tn.ModelFileError):
        tn.load(path)


@given(place=st.floats(0.0, 0.9999), value=st.integers(1, 255))
def test_a_flipped_byte_never_loads_other_weights(saved: Path, place: float, value: int) -> None:
    data = bytearray(saved.read_bytes())
    data[int(len(data) * place)] ^= value
    path = saved.with_name("flipped.npz")
    path.write_bytes(bytes(data))
    try:
        loaded = tn.load(path, backend="numpy")
    except tn.ModelFileError:
        return
    # Some bytes of the archive carry nothing, such as time stamps: then the model is the one that was saved.
    assert loaded.flat_parameters().tobytes() == network().flat_parameters().tobytes()


class Scale(tn.Layer):
    def __init__(self, start: float = 1.0) -> None:
        super().__init__()
        self.start = start
        self.add_parameter("factor", (1,), start)

    def forward(self, x: Any) -> Any:
        self.x = x
        return x * self.factor

    def backward(self, grad: Any) -> Any:
        self.factor_grad[...] = (grad * self.x).sum()
        return grad * self.factor

    def config(self) -> dict[str, float]:
        return {"start": self.start}


def test_a_custom_layer_loads_with_its_class_and_not_without(tmp_path: Path) -> None:
    net = tn.Sequential(tn.Linear(3, 2), Scale(2.0), backend="numpy")
    net.save(tmp_path / "net.npz")
    back = tn.load(tmp_path / "net.npz", backend="numpy", custom={"Scale": Scale})
    assert back.predict(X).tobytes() == net.predict(X).tobytes()
    with pytest.raises(tn.ModelFileError, match="custom="):
        tn.load(tmp_path / "net.npz")


class Nameless(tn.Layer):
    def forward(self, x: Any) -> Any:
        return x

    def backward(self, grad: Any) -> Any:
        return grad


def test_a_custom_layer_without_config_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotImplementedError, match=r"Define config\(\)"):
        tn.Sequential(tn.Linear(3, 2), Nameless()).save(tmp_path / "net.npz")
    assert os.listdir(tmp_path) == []


def test_metadata_with_numbers_of_numpy_come_back(tmp_path: Path) -> None:
    net = network()
    kept = {"mean": np.array([1.5, -2.0]), "n": np.int64(40), "scale": np.float32(0.5), "names": np.array(["a", "b"])}
    net.metadata = kept | {"flag": np.bool_(True), "nested": [{"pair": (1, np.uint8(2))}], "none": None}
    net.save(tmp_path / "net.npz")
    assert tn.load(tmp_path / "net.npz", backend="numpy").metadata == {
        "mean": [1.5, -2.0],
        "n": 40,
        "scale": 0.5,
        "names": ["a", "b"],
        "flag": True,
        "nested": [{"pair": [1, 2]}],
        "none": None,
    }
    assert net.metadata["mean"] is kept["mean"]


METADATA: dict[str, tuple[dict[Any, Any], str]] = {
    "dates": (
        {"when": np.datetime64("2020-01-01")},
        r"metadata\['when'\] must be something that JSON holds.*datetime64",
    ),
    "complex": ({"a": [1, 2j]}, r"metadata\['a'\]\[1\] must be.*got complex"),
    "objects": ({"a": np.array([print], object)}, r"metadata\['a'\]\[0\].*builtin_function"),
    "masked": ({"a": np.ma.masked_array([1, 2], [True, False])}, "MaskedArray|array of int64"),
    "long double": ({"a": np.longdouble(1)}, "longdouble"),
    "a key that is no text": ({"classes": {0: "cat"}}, r"metadata\['classes'\] must have texts as keys.*got 0"),
    "itself": ({"a": (loop := [])} | {"b": loop.append(loop)}, "must not hold themselves"),
}


@pytest.mark.parametrize(("metadata", "message"), METADATA.values(), ids=METADATA.keys())
@pytest.mark.parametrize("many", [False, True], ids=["model", "ensemble"])
def test_metadata_that_would_not_come_back_are_named(
    metadata: dict[Any, Any], message: str, many: bool, tmp_path: Path
) -> None:
    net = tn.Ensemble(network(), 2) if many else network()
    net.metadata = metadata
    with pytest.raises(TypeError, match=message):
        net.save(tmp_path / "net.npz")
    assert not list(tmp_path.iterdir())


class Sized(tn.Identity):
    """A layer of the user's, whose arguments NumPy computed."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def config(self) -> dict[str, Any]:
        return {"n": self.n}


def test_arguments_of_layers_that_numpy_computed_come_back(tmp_path: Path) -> None:
    net = tn.Sequential(tn.Linear(np.int64(3), 2), Sized(np.int32(5)), backend="numpy")
    net.save(tmp_path / "net.npz")
    back = tn.load(tmp_path / "net.npz", backend="numpy", custom={"Sized": Sized})
    assert vars(back.layers[1])["n"] == 5


def edited(path: Path, out: Path, changes: dict[str, bytes], again: tuple[tuple[str, bytes], ...] = ()) -> Path:
    """Copy an archive with some members changed, and some added once more; its checksums are right."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of a name that stands twice.
        for name in old.namelist():
            new.writestr(name, changes.get(name, old.read(name)))
        for name, data in again:
            new.writestr(name, data)
    return out


@pytest.mark.parametrize("member", ["layer0.mean", "layer0.scale", "layer1.weight", "layer4.weight"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [".npz", ".safetensors", "checkpoint"])
def test_weights_that_are_not_finite_are_not_loaded(member: str, value: float, kind: str, tmp_path: Path) -> None:
    net, path = network(), tmp_path / f"net{kind}"
    if kind == "checkpoint":
        net.fit(X, X[:, :2], callbacks=tn.Checkpoint(path))
    position, name = int(member[5]), member[7:]
    array = net.layers[position].__getattr__(name).copy()
    array.flat[-1] = value
    if kind == ".safetensors":
        header, arrays = describe(net.parts())
        write_safetensors(path, header, arrays | {member: array})
    else:
        if kind == ".npz":
            net.save(path)
        buffer = io.BytesIO()
        np.save(buffer, array)
        path = edited(path, tmp_path / "damaged.npz", {f"{member}.npy": buffer.getvalue()})
    with pytest.raises(tn.ModelFileError, match=f"weights must be finite; {member} has {value}"):
        tn.load(path, backend="numpy")


@pytest.mark.parametrize("name", ["net.npz", "net.safetensors"])
def test_weights_that_are_not_finite_are_not_saved(name: str, tmp_path: Path) -> None:
    net, path = network(), tmp_path / name
    net.save(path)
    before = path.read_bytes()
    net.layers[1].weight[0, 0] = np.nan
    with pytest.raises(ValueError, match=r"save expects finite weights; those of layer1\.weight are not"):
        net.save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["header.json", "layer1.weight.npy"])
def test_an_archive_with_two_members_of_one_name_is_refused(name: str, tmp_path: Path) -> None:
    network().save(tmp_path / "net.npz")
    with zipfile.ZipFile(tmp_path / "net.npz") as archive:
        again = archive.read(name)
    path = edited(tmp_path / "net.npz", tmp_path / "doubled.npz", {}, ((name, again),))
    with pytest.raises(tn.ModelFileError, match="two members of one name"):
        tn.load(path)


def test_a_header_in_which_a_name_stands_twice_is_refused(tmp_path: Path) -> None:
    network().save(tmp_path / "net.npz")
    with zipfile.ZipFile(tmp_path / "net.npz") as archive:
        text = archive.read("header.json").replace(b'"dtype": "float32"', b'"dtype": "float64", "dtype": "float32"', 1)
    path = edited(tmp_path / "net.npz", tmp_path / "doubled.npz", {"header.json": text})
    with pytest.raises(tn.ModelFileError, match="not all different"):
        tn.load(path)
