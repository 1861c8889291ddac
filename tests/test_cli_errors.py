"""The command line when something is wrong: one line on stderr, exit code 2, and nothing half done."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

import tinynet as tn
from tinynet.cli import info, problem
from tinynet.cli.main import main

ROOT = Path(__file__).resolve().parent.parent
PRICES = "size,price\n" + "".join(f"{i},{i * 1.5}\n" for i in range(30))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with good data and a good model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYNET_BACKEND", "numpy")
    Path("d.csv").write_text(PRICES)
    Path("text.csv").write_text("size,kind\n1,a\n2,b\nx,a\n4,b\n")
    Path("kinds.csv").write_text("size,kind\n" + "1,a\n2,b\n3,c\n" * 5)
    Path("folder").mkdir()
    Path("typo.toml").write_text("epocs = 3")
    Path("table.toml").write_text("[epochs]\nn = 3")
    Path("value.toml").write_text("epochs = 'many'")
    Path("broken.toml").write_text("epochs = ")
    np.savez("pickled.npz", x=np.array([{}]), y=np.zeros(1))
    net = tn.Sequential(tn.Linear(1, 1), seed=0)
    net.metadata = {"features": ["size"], "targets": ["price"]}
    net.save("m.npz")
    Path("corrupt.npz").write_bytes(Path("m.npz").read_bytes()[:-40])
    net.metadata = {"features": ["size", "age"]}
    net.save("odd.npz")
    return tmp_path


def stderr_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail, and return its one line."""
    try:
        code = main(arguments)
    except SystemExit as leaving:
        code = leaving.code  # type: ignore[assignment]
    err = capsys.readouterr().err
    assert code == 2
    assert err.count("\n") == 1
    assert err.endswith("\n")
    return err


ERRORS: dict[str, tuple[str, str]] = {
    "no command": ("", "required: COMMAND"),
    "unknown command": ("trian", "got 'trian'. Did you mean 'train'?"),
    "unknown option": ("train --epoch 3", "unrecognized arguments: --epoch"),
    "several values": (
        "train d.csv --layers 8 8",
        r"tinynet train: error: unrecognized.* 8\. Several values .* by commas\.",
    ),
    "data for a model": (
        "predict d.csv m.npz",
        "begins with b'size,.*The model comes first: tinynet predict MODEL DATA",
    ),
    "missing file": ("train none.csv", "No such file or directory: 'none.csv'"),
    "empty folder": ("train folder", "must hold IDX files"),
    "unreadable": ("train corrupt.npz", "cannot be read as arrays"),
    "pickled": ("train pickled.npz", "never unpickled"),
    "text": ("train text.csv", "line 4, column 'size': features must be numbers; got 'x'"),
    "wrong column": ("train d.csv --target prize", "--target expects a column 'prize'.*Did you mean 'price'"),
    "wrong column to ignore": ("train d.csv --ignore prize", "--ignore expects a column 'prize'"),
    "validation file": ("train d.csv --validation none.csv", "No such file or directory: 'none.csv'"),
    "validation of 1": ("train d.csv --validation 1", "--validation must be a finite number >= 0 and < 1"),
    "validation of all": ("train d.csv --validation 0.99", "leaves none of 30 rows"),
    "epochs 0": ("train d.csv --epochs 0", "--epochs must be a whole number >= 1; got 0"),
    "epochs x": ("train d.csv --epochs x", "--epochs must be a whole number; got 'x'"),
    "batch size": ("train d.csv --batch-size -3", "--batch-size must be a whole number >= 1; got -3"),
    "rate": ("train d.csv --learning-rate 0", "--learning-rate must be a finite number > 0"),
    "rate NaN": ("train d.csv --learning-rate nan", "--learning-rate must be a finite number > 0"),
    "layers": ("train d.csv --layers 64,big", "a width in --layers must be a whole number; got 'big'"),
    "layers 0": ("train d.csv --layers 64,0", "a width in --layers must be a whole number >= 1; got 0"),
    "activation": ("train d.csv --activation relo", "got 'relo'. Did you mean 'relu'?"),
    "loss of numbers": ("train d.csv --loss bce", "--loss for targets that are numbers must be one of.*'mse'"),
    "loss of classes": ("train kinds.csv --loss mse", "--loss for classes must be one of 'bce'.*got 'mse'"),
    "bce of three": ("train kinds.csv --loss bce", "--loss bce expects two classes; got 3. Use cross_entropy"),
    "task": ("train kinds.csv --task regression", "line 2: the target must be a number; got 'a'"),
    "backend": ("train d.csv --backend gpo", "must be one of 'auto', 'cpu'"),
    "backend that is not there": ("train d.csv --backend gpu", "CuPy"),
    "out in no folder": ("train d.csv --out none/m.npz", "--out expects a file in an existing folder"),
    "out is a folder": ("train d.csv --out folder", "'folder' is a folder"),
    "plot in no folder": ("train d.csv --plot none/a.png", "--plot expects a file in an existing folder"),
    "plot of no format": ("train d.csv --plot a.bmp", "the ending of a plot's name must be one of '.pdf'"),
    "checkpoint in no folder": ("train d.csv --checkpoint none/c", "--checkpoint expects a file in an existing"),
    "resume from nothing": ("train d.csv --resume", "--resume expects --checkpoint FILE"),
    "resume from no file": ("train d.csv --resume --checkpoint c", "No such file or directory: 'c'"),
    "checkpoint is the model": ("train d.csv --checkpoint m.npz --out ./m.npz", "expect two files"),
    "resume from a model": ("train d.csv --resume --checkpoint m.npz", "resume_from expects a checkpoint"),
    "no config": ("train --config none.toml", "No such file or directory: 'none.toml'"),
    "config typo": ("train --config typo.toml", "'epocs' is no option of tinynet train. Did you mean 'epochs'?"),
    "config table": ("train --config table.toml", "'epochs' must be a text, a number, true or false, or a list"),
    "config value": ("train --config value.toml", "--epochs must be a whole number; got 'many'"),
    "config syntax": ("train --config broken.toml", "'broken.toml' is not TOML"),
    "out of no model": ("train d.csv --out net.onnx", r"Use net\.to_onnx"),
    "no model": ("predict none.npz d.csv", "No such file or directory: 'none.npz'"),
    "corrupt model": ("predict corrupt.npz d.csv", "'corrupt.npz' is not a readable model file"),
    "foreign model": ("predict pickled.npz d.csv", "is not a tinynet model file|compressed"),
    "odd metadata": ("predict odd.npz d.csv", "its metadata 'features' must name 1"),
    "no data": ("predict m.npz none.csv", "No such file or directory: 'none.csv'"),
    "columns that are not there": ("predict m.npz typo.toml", "no rows"),
    "predict to no folder": ("predict m.npz d.csv --out none/p.csv", "--out expects a file in an existing folder"),
    "probabilities of numbers": ("predict m.npz d.csv --probabilities", "expects a model of classes"),
    "evaluate without targets": ("evaluate m.npz kinds.csv", "The model expects a column 'price'"),
    "never trained": ("evaluate m.npz d.csv", "evaluate expects a loss"),
}


@pytest.mark.parametrize(("command", "message"), ERRORS.values(), ids=ERRORS.keys())
def test_an_error_is_one_line_and_nothing_is_written(
    command: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(os.listdir())
    assert re.search(message, stderr_of(command.split(), capsys))
    assert sorted(os.listdir()) == before


def test_debug_shows_where(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "none.csv", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", ["train d.csv --epochs 1", "predict m.npz d.csv"])
def test_a_device_is_not_replaced_by_a_file(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "'/dev/full' is a device" in stderr_of([*command.split(), "--out", "/dev/full"], capsys)
    assert Path("/dev/full").is_char_device()


def run(*arguments: str, **options: object) -> subprocess.Popen[str]:
    """Start the command as a process of its own."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment, **options}
    return subprocess.Popen([sys.executable, "-m", "tinynet", *arguments], **options)  # type: ignore[call-overload]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_standard_output_is_one_line() -> None:
    with open("/dev/full", "w") as full, run("predict", "m.npz", "d.csv", stdout=full) as process:
        _, err = process.communicate()
    assert (process.returncode, err) == (2, "tinynet: error: No space left on device\n")


@pytest.mark.skipif(os.name == "nt", reason="pipes of Windows close otherwise")
def test_a_reader_that_goes_away_is_no_error() -> None:
    Path("long.csv").write_text("size\n" + "1\n" * 200_000)
    with run("predict", "m.npz", "long.csv") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "price\n"
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
    assert (process.returncode, err) == (141, "")


def let_interrupt() -> None:
    """Undo the shell's habit of shielding background processes from Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send")
def test_ctrl_c_keeps_the_model_as_it_is() -> None:
    arguments = ["train", "d.csv", "--epochs", "1000000", "--learning-rate", "0.01", "--validation", "0"]
    with run(*arguments, preexec_fn=let_interrupt) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch") and int(line.split("/")[0].split()[1]) > 100:
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, err) == (130, "tinynet: interrupted\n")
    assert "the model is kept as it is" in out
    # Its predictions are in the units of the data, as if training had ended by itself.
    predicted = tn.load("tinynet-model.npz").predict(np.arange(30.0).reshape(-1, 1))[:, 0]
    assert np.corrcoef(predicted, np.arange(30))[0, 1] > 0.9
    assert np.abs(predicted - 1.5 * np.arange(30)).max() < 10


def test_ctrl_c_while_reading_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(problem, "read", interrupted)
    before = sorted(os.listdir())
    assert main(["train", "d.csv"]) == 130
    assert capsys.readouterr().err == "tinynet: interrupted\n"
    assert sorted(os.listdir()) == before


def test_a_training_that_diverges_keeps_its_best_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "d.csv", "--optimizer", "sgd", "--learning-rate", "1e12", "--validation", "0", "--quiet"]
    assert "diverged" in stderr_of(arguments, capsys)
    assert np.isfinite(tn.load("tinynet-model.npz").predict([[1.0]])).all()


def test_a_bug_is_not_passed_off_as_a_mistake_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    def buggy(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(problem, "read", buggy)
    with pytest.raises(ZeroDivisionError):
        main(["train", "d.csv"])


# -- info and version ------------------------------------------------------------------------------------------------


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["--version"])
    assert leaving.value.code == 0
    assert capsys.readouterr().out == f"tinynet {tn.__version__}\n"


def test_info_tells_versions_machine_and_backends(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    told = {line.split()[0]: line[14:] for line in lines if line.strip()}
    assert told["tinynet"] == tn.__version__
    assert any(line.split() == ["numpy", metadata.version("numpy")] for line in lines)
    assert any(line.split() == ["numpy", "works"] for line in lines)
    assert int(told["cores"].split()[0]) >= 1
    assert told["processor"]
    problem = tn.available()["cupy"]
    assert problem is None or problem in told["cupy"]
    assert "numpy (TINYNET_BACKEND=numpy)" in "\n".join(lines)


def test_info_survives_a_backend_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TINYNET_BACKEND", "abacus")
    assert main(["info"]) == 0
    assert "none: TINYNET_BACKEND must be one of" in capsys.readouterr().out


def test_info_notices_two_cupys(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cupy-cuda12x", "cupy-cuda13x"):
        place = folder / "site" / f"{name.replace('-', '_')}-14.0.0.dist-info"
        place.mkdir(parents=True)
        (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 14.0.0\n")
    monkeypatch.setattr(sys, "path", [str(folder / "site"), *sys.path])
    assert info.cupy_distributions() == ["cupy-cuda12x", "cupy-cuda13x"]
    assert "cupy-cuda12x and cupy-cuda13x overwrite each other's files" in info.report()
    assert "pip uninstall cupy-cuda12x cupy-cuda13x" in info.report()


def test_info_says_how_to_get_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(info, "PACKAGES", ("a-package-that-nobody-has",))
    assert "not installed; get it by: pip install a-package-that-nobody-has" in info.report()


def test_nothing_tells_to_install_the_package_of_somebody_else(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("train", "predict", "evaluate", "info"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
    main(["info"])
    assert "pip install tinynet" not in capsys.readouterr().out
