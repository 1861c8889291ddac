"""How files are written: whole or not at all, and what is told where they cannot be."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from file_networks import X, network

import tinynet as tn
from tinynet.exchange import atomic
from tinynet.exchange.atomic import atomic_open


def test_saving_replaces_the_file_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    path.write_text("old")
    path.chmod(0o640)
    network().save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert tn.load(path).n_parameters == network().n_parameters
    assert os.listdir(tmp_path) == ["net.npz"]


def test_saving_writes_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link.npz").symlink_to(tmp_path / "real.npz")
    network().save(tmp_path / "link.npz")
    assert (tmp_path / "link.npz").is_symlink()
    assert tn.load(tmp_path / "real.npz").n_parameters == network().n_parameters


def test_only_regular_files_are_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(FileExistsError, match="no regular file"):
            network().save(path)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    path.write_text("old")

    def write() -> None:
        with atomic_open(path) as file:
            file.write(b"half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["net.npz"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="this user opens every folder")
def test_a_folder_that_cannot_be_opened_is_written_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o300)
    try:
        network().save(tmp_path / "net.npz")
    finally:
        tmp_path.chmod(0o700)
    assert os.listdir(tmp_path) == ["net.npz"]


def test_a_file_that_is_replaced_is_no_error_where_its_folder_cannot_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def refusing(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if Path(path) == tmp_path:
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return opened(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", refusing)
    net = network()
    net.save(tmp_path / "net.npz")
    assert tn.load(tmp_path / "net.npz", backend="numpy").predict(X).tobytes() == net.predict(X).tobytes()


@pytest.mark.parametrize("length", [245, 250, 255])
@pytest.mark.parametrize("ending", [".npz", ".safetensors", ".h", ".svg"])
def test_names_may_be_as_long_as_the_file_system_allows(length: int, ending: str, tmp_path: Path) -> None:
    path = tmp_path / ("n" * (length - len(ending)) + ending)
    net = network()
    write = {".h": net.to_c, ".svg": lambda path: tn.plot_weights(net, path)}.get(ending, net.save)
    for _ in range(2):  # The second time there is a file to be replaced.
        write(path)
    assert os.listdir(tmp_path) == [path.name]


def test_on_windows_a_file_that_another_process_holds_open_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, waited = os.replace, []

    def in_use(source: str, target: Path) -> None:
        if len(waited) < 3:
            raise PermissionError(13, "The process cannot access the file", os.fspath(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", in_use)
    monkeypatch.setattr(atomic.time, "sleep", waited.append)
    path = tmp_path / "net.npz"
    path.write_text("old")
    with pytest.raises(PermissionError):  # Elsewhere it means what it says.
        network().save(path)
    assert (path.read_text(), waited, os.listdir(tmp_path)) == ("old", [], ["net.npz"])
    monkeypatch.setattr(atomic, "WINDOWS", True)
    network().save(path)
    assert tn.load(path).n_parameters == network().n_parameters
    assert 0 < sum(waited) < 1


def test_on_windows_waiting_for_others_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def in_use(source: str, target: Path) -> None:
        raise PermissionError(13, "The process cannot access the file", os.fspath(target))

    monkeypatch.setattr(os, "replace", in_use)
    monkeypatch.setattr(atomic.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(atomic, "WINDOWS", True)
    with pytest.raises(PermissionError, match="cannot access"):
        network().save(tmp_path / "net.npz")
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_is_an_error_and_the_model_goes_on(tmp_path: Path) -> None:
    net = network()
    with pytest.raises(FileNotFoundError):
        net.save(tmp_path / "missing" / "net.npz")
    assert np.isfinite(net.predict(X)).all()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_an_error_and_the_model_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def on_a_full_disk(path: str, flags: int) -> int:
        Path(path).write_text("")
        return os.open("/dev/full", os.O_WRONLY)

    monkeypatch.setattr("tinynet.exchange.atomic._opened_for_one", on_a_full_disk)
    net = network()
    before = net.flat_parameters().tobytes()
    with pytest.raises(OSError, match="No space left"):
        net.save(tmp_path / "net.npz")
    assert net.flat_parameters().tobytes() == before
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["net.npz", "net.safetensors"])
def test_a_folder_that_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / "missing" / name
    with pytest.raises(
        FileNotFoundError, match=r"missing/net\.\w+' expects an existing folder; got .*missing'.*Create"
    ):
        network().save(path)
    with pytest.raises(FileNotFoundError, match="expects an existing folder"):
        network().to_c(path.with_suffix(".h"))


def test_a_folder_that_cannot_be_written_is_told_by_the_users_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, flags: int) -> int:
        raise PermissionError(13, "Permission denied", f"{tmp_path}/.net.npz.x.tmp")

    monkeypatch.setattr("tinynet.exchange.atomic._opened_for_one", refuse)
    with pytest.raises(PermissionError, match=r"Permission denied: '.*/net\.npz'$"):
        network().save(tmp_path / "net.npz")
