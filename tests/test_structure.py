"""The architecture, read from the import statements and the tables."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from house_plan import KERNELS, PACKAGE, ROOT, floors, imports, modules, room_of

import tinynet as tn
from tinynet.backends import get_backend
from tinynet.layers import ACTIVATIONS, LAYERS
from tinynet.losses import LOSSES
from tinynet.optimizers import OPTIMIZERS

FLOORS = floors()
"""The rooms of the house from the top floor down, as ``docs/house.toml`` lists them. A room imports from rooms further
down, and from itself; the face, ``tinynet/__init__.py``, from all of them."""

EXCHANGE = {"casadi", "safetensors", "onnx", "torch", "sklearn", "skl2onnx"}
OPTIONAL = {"tensorboardX", "IPython", "optuna", "joblib", "dask", *EXCHANGE}
HEAVY = {"numba", "scipy", "cupy", "tinynet_kernels", "rich", "matplotlib", "pandas", "llvmlite", *OPTIONAL}


def floor_of(room: str) -> int:
    for floor, rooms in enumerate(FLOORS):
        if room in rooms:
            return floor
    pytest.fail(f"tinynet.{room} has no place in the house: add it to docs/house.toml")


def test_every_room_has_one_place_in_the_house() -> None:
    listed = [room for floor in FLOORS for room in floor]
    assert sorted(listed) == sorted({room_of(path) for path in modules()} - {"__init__"})


def imports_that_go_up(path: Path) -> list[str]:
    room = room_of(path)
    rooms = {name: name.split(".")[1] for name in imports(path, types=True) if name.startswith("tinynet.")}
    return [
        name
        for name, other in rooms.items()
        if other != room and (floor_of(other) <= floor_of(room) or other == "__init__")
    ]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_the_house_only(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        return
    assert not imports_that_go_up(path), f"{path.relative_to(ROOT)} imports what stands above it, or beside it"
    assert "tinynet" not in imports(path, types=True), f"{path.relative_to(ROOT)} imports the face"


@pytest.mark.parametrize("room", sorted({name for floor in FLOORS for name in floor}))
def test_the_files_of_a_room_form_no_circle(room: str) -> None:
    """At run time: what a file imports inside a function counts, what it imports for types does not."""
    own = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in modules()
        if room_of(path) == room
    }
    below = {name: [other for other in imports(path) if other in own and other != name] for name, path in own.items()}
    while free := [name for name, others in below.items() if not others]:
        below = {name: [o for o in others if o not in free] for name, others in below.items() if name not in free}
    assert not below, "these import one another in a circle, or what does"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_only_backends_import_kernels_and_compilers(path: Path) -> None:
    tops = {name.split(".")[0] for name in imports(path)}
    if "backends" not in path.relative_to(PACKAGE).parts:
        assert not tops & {"numba", "cupy", "tinynet_kernels", "llvmlite"}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_frozen_dataclasses_compile_nothing(path: Path) -> None:
    """Those of the standard library cost each process half a millisecond; see ``tinynet.base.frozen``."""
    tree = ast.parse(path.read_text())
    compiled = any(
        isinstance(node, ast.ImportFrom)
        and node.module == "dataclasses"
        and "dataclass" in {n.name for n in node.names}
        for node in tree.body
    )
    frozen = [node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "frozen"]
    made = [node for node in frozen if isinstance(node.value, ast.Constant)]
    assert not (compiled and made), "from tinynet.base.frozen import dataclass"


def test_kernels_never_import_tinynet() -> None:
    files = modules(KERNELS)
    assert files
    for path in files:
        assert not {name.split(".")[0] for name in imports(path)} & {"tinynet"}, path


@pytest.mark.parametrize("module", ["tinynet.ensembles.ensemble", "tinynet.models.fitting", "tinynet.cli.main"])
def test_import_loads_numpy_and_nothing_heavier(module: str) -> None:
    code = f"import sys, {module}; print(sorted({HEAVY!r} & {{name.split('.')[0] for name in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_face_imports_what_is_used_from_where_types_have_it() -> None:
    """Type checkers read the imports, Python the table; nothing is imported before it is used."""
    for_types: dict[str, str] = {}
    (block,) = (node for node in ast.parse((PACKAGE / "__init__.py").read_text()).body if isinstance(node, ast.If))
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        whole = node.module == "tinynet"
        for_types |= {name.name: f"tinynet.{name.name}" if whole else str(node.module) for name in node.names}
    assert for_types == tn._ON_FIRST_USE
    code = "import sys, tinynet; print(sorted(name for name in sys.modules if name.startswith('tinynet.')))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {name.split(".")[1] for name in ast.literal_eval(result.stdout)} == {"base"}


def test_predict_imports_what_it_needs(tmp_path: Path) -> None:
    """Neither compilers nor what trains: a prediction of few rows lasts about as long as what it imports."""
    tn.Sequential(tn.Linear(2, 1), seed=0).save(tmp_path / "model.npz")
    (tmp_path / "data.csv").write_text("a,b\n1,2\n")
    code = (
        "import gc, sys; from tinynet.__main__ import command; "
        "sys.argv[1:] = ['predict', 'model.npz', 'data.csv', '--out', 'out.csv']; code = command(); "
        "assert gc.isenabled() and gc.get_freeze_count(), 'what is imported is left to the collector'; "
        "print(*sys.modules); raise SystemExit(code)"
    )
    environment = {name: text for name, text in os.environ.items() if name != "TINYNET_BACKEND"}
    options: dict[str, Any] = {"capture_output": True, "text": True, "check": True, "env": environment}
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, **options)
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 2
    loaded = set(result.stdout.split())
    assert "tinynet.models.sequential" in loaded
    unwanted = {"numba", "llvmlite", "scipy", "matplotlib"}
    unwanted |= {"numpy.random", "hashlib", "tempfile", "uuid", "decimal", "difflib"}
    unwanted |= {f"tinynet.backends.{name}" for name in ("derivatives", "lowering", "mapped", "members", "numba")}
    unwanted |= {f"tinynet.{room}" for room in ("training", "optimizers", "ensembles", "sweeps", "estimators")}
    assert not unwanted & loaded


def test_a_fit_imports_what_it_needs() -> None:
    code = (
        "import sys, tinynet as tn; net = tn.Sequential(tn.Linear(4, 5), tn.Sigmoid(), tn.Linear(5, 3), tn.Sigmoid()); "
        "net.fit([[0.0] * 4], [[0.0] * 3], optimizer='sgd'); print(*sys.modules)"
    )
    environment = {**os.environ, "TINYNET_BACKEND": "numba"}
    options: dict[str, Any] = {"capture_output": True, "text": True, "check": True, "env": environment}
    loaded = set(subprocess.run([sys.executable, "-c", code], **options).stdout.split())
    assert "tinynet.backends.numba.generated" in loaded
    unwanted = {"numba", "scipy", "tinynet.exchange.archive", "tinynet.training.checkpoints"}
    unwanted |= {f"tinynet.backends.{name}" for name in ("derivatives", "mapped", "members", "numba.lanes")}
    assert not unwanted & loaded


def test_the_kernel_folder_is_no_package() -> None:
    assert not (ROOT / "kernels" / "__init__.py").exists()


def test_tinynet_kernels_is_importable() -> None:
    assert importlib.util.find_spec("tinynet_kernels") is not None


@pytest.mark.parametrize("name", sorted(tn.__all__))
def test_everything_public_is_there_and_documented(name: str) -> None:
    assert inspect.getdoc(getattr(tn, name))


def public_classes(module: object, base: type) -> set[type]:
    return {
        value
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, base) and value is not base and not name.startswith("_")
    }


def test_every_layer_is_in_the_table_and_public() -> None:
    from tinynet import layers

    classes = public_classes(layers, layers.Layer)
    assert classes == set(LAYERS.values())
    assert {name for name in LAYERS if hasattr(tn, name)} == set(LAYERS)


def test_every_loss_is_in_the_table_and_public() -> None:
    from tinynet import losses

    classes = public_classes(losses, losses.Loss)
    assert classes == set(losses.LOSS_CLASSES.values()) == {*LOSSES.values(), losses.ElementwiseLoss, losses.Sobolev}
    assert all(getattr(tn, cls.__name__) is cls for cls in classes)


def test_every_optimizer_is_in_the_table_and_public() -> None:
    from tinynet import optimizers

    classes = public_classes(optimizers, optimizers.Optimizer)
    assert classes == set(OPTIMIZERS.values())
    assert all(getattr(tn, cls.__name__) is cls for cls in classes)


def test_every_activation_has_a_kernel_on_every_backend(backend: str) -> None:
    kernels = get_backend(backend).kernels
    assert set(kernels.ACTIVATIONS) == set(ACTIVATIONS)


def test_every_optimizer_has_a_kernel_that_takes_its_settings(backend: str) -> None:
    kernels = get_backend(backend).kernels
    for name, cls in OPTIMIZERS.items():
        if cls.takes_all_samples:  # What those compute is no pass over the parameters.
            continue
        parameters = list(inspect.signature(getattr(kernels, f"{name}_step")).parameters)
        assert parameters[5:] == list(cls().settings()), name


def test_nothing_outside_the_backends_asks_which_one_it_is_on() -> None:
    """No module but those of the backends imports one, or compares a backend's name or its class with anything."""
    for path in modules():
        if "backends" in path.parts:
            continue
        place = str(path.relative_to(ROOT))
        for name in imports(path):
            allowed = {"tinynet.backends", "tinynet.backends.base", "tinynet.backends.loop", "tinynet.backends.byhand"}
            allowed.add("tinynet.backends.cupy.environment")  # What is installed; for `tinynet info`.
            allowed.add("tinynet.backends.compiling")  # That something is compiled, on whatever backend.
            allowed.add("tinynet.backends.standardising")  # What samples become, on whatever backend.
            allowed |= {
                f"tinynet.backends.ranks.{name}" for name in ("alone", "divided", "parts", "plans", "team")
            }  # Who computes it together.
            allowed.add("tinynet.backends.formulas")  # What is computed, as data, on whatever backend.
            allowed.add("tinynet.backends.blocks")  # What several outputs of a target are, likewise.
            assert not name.startswith("tinynet.backends") or name in allowed, f"{place} imports {name}"
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare | ast.Match | ast.Subscript):
                told = [inner for inner in ast.walk(node) if isinstance(inner, ast.Attribute) and inner.attr == "name"]
                owners = {ast.unparse(inner.value) for inner in told}
                asked = {owner for owner in owners if owner.rpartition(".")[2].strip("_") in ("backend", "place")}
                assert not asked, f"{place}, line {node.lineno}, asks for the name of a backend"
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
                assert "backend" not in ast.unparse(node.args[0]), f"{place}, line {node.lineno}, asks for its class"
