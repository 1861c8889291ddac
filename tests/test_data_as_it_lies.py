"""Data on disk: every dtype, byte order and layout is read as what it means, and nothing is copied whole."""

import tracemalloc

import numpy as np
import pytest

import tinynet as tn

N, COLUMNS = 60, 3
DTYPES = [">f4", ">f8", "<f2", ">f2", ">i4", "u1", "bool", "longdouble"]


@pytest.fixture(scope="module")
def numbers():
    rng = np.random.default_rng(0)
    return rng.integers(0, 5, (N, COLUMNS)), rng.integers(0, 3, (N, 2)), rng.uniform(0.5, 2.0, N)


def on_disk(tmp_path, name, array, view=lambda mapped: mapped):
    """Return a memory map of what ``array`` is a view of, as the same view of it."""
    np.save(tmp_path / f"{name}.npy", array)
    return view(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))


def mapped_layout(tmp_path, layout, array):
    if layout == "by columns":
        np.save(tmp_path / "x.npy", np.asfortranarray(array))
        return np.load(tmp_path / "x.npy", mmap_mode="r")
    if layout == "some columns":
        return on_disk(tmp_path, "x", np.repeat(array, 2, axis=1), lambda mapped: mapped[:, ::2])
    return on_disk(tmp_path, "x", array[::-1].copy(), lambda mapped: mapped[::-1])


def everything(net, models, x, y, weight):
    """Return what all paths make of data, by name."""
    found = {"predict": net.predict(x), "models predict": models.predict(x), "forward": net.forward(x)}
    found["evaluate"] = net.evaluate(x, y, loss="mse", metrics="rmse", sample_weight=weight)
    found["models evaluate"] = models.evaluate(x, y, loss="mse", sample_weight=weight)
    for name, settings in {"fit": {}, "fit in order": {"shuffle": False}}.items():
        for whose, trained in (("", net.clone()), ("models ", tn.Ensemble(net, 2, seeds=[0, 1]))):
            trained.fit(x, y, optimizer="sgd", epochs=2, batch_size=16, sample_weight=weight, **settings)
            found[whose + name] = trained.get_weights()
    return found


def check_alike(found, wanted):
    for name, value in wanted.items():
        mine, its = (
            [*part.values()] if isinstance(part, dict) else part if isinstance(part, list) else [part]
            for part in (found[name], value)
        )
        for a, b in zip(mine, its, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6, err_msg=name)


def network(backend):
    return tn.Sequential(tn.Linear(COLUMNS, 4), tn.Tanh(), tn.Linear(4, 2), seed=0, backend=backend)


@pytest.fixture(scope="module")
def wanted(numbers):
    """What the reference makes of the same numbers in memory, and as truth values."""
    net = network("numpy")
    models = tn.Ensemble(net, 2, seeds=[0, 1])
    x, y, weight = numbers
    return [everything(net, models, rows.astype("float32"), y.astype("float32"), weight) for rows in (x, x > 2)]


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_on_disk_is_read_as_what_it_means(numbers, wanted, tmp_path, backend, dtype):
    x, y, weight = numbers
    rows = x > 2 if dtype == "bool" else x
    stored = on_disk(tmp_path, "x", rows.astype(dtype)), on_disk(tmp_path, "y", y.astype(">f2"))
    net = network(backend)
    found = everything(net, tn.Ensemble(net, 2, seeds=[0, 1]), *stored, on_disk(tmp_path, "w", weight.astype(">f8")))
    check_alike(found, wanted[dtype == "bool"])


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("layout", ["by columns", "some columns", "rows from the end"])
def test_every_layout_on_disk_is_read_as_it_lies(numbers, wanted, tmp_path, backend, layout):
    x, y, weight = numbers
    net = network(backend)
    stored = mapped_layout(tmp_path, layout, x.astype("float32"))
    check_alike(everything(net, tn.Ensemble(net, 2, seeds=[0, 1]), stored, y.astype("float32"), weight), wanted[0])


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("dtype", [">f4", "<f2"])
def test_nothing_on_disk_is_copied_whole(tmp_path, backend, dtype):
    n, columns = 60_000, 64
    x = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=dtype, shape=(columns, n)).T
    y = np.zeros((n, 1), "float32")
    net = tn.Sequential(tn.Linear(columns, 1), seed=0, backend=backend)
    models = tn.Ensemble(net, 2)
    models.predict(x[:10])
    tracemalloc.start()
    try:
        net.predict(x), models.predict(x), net.evaluate(x, y, loss="mse")
        net.fit(x, y, batch_size=1000, shuffle=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    whole = 4 * x.size
    assert peak < whole / 2, f"{peak:,} bytes were held; all of the data in float32 are {whole:,}"


def test_numbers_on_disk_that_do_not_fit_are_refused(tmp_path):
    x = np.zeros((8, COLUMNS))
    x[5, 1] = 1e300
    mapped = on_disk(tmp_path, "x", x.astype(">f8"))
    with pytest.raises(ValueError, match="must fit into float32"):
        network("numpy").predict(mapped)
