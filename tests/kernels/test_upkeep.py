"""The folder for compiled code: where it is, what it holds, and that nothing else in it is ever deleted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tinynet_kernels.cpu.place import place
from tinynet_kernels.cpu.upkeep import clear, holding

from tinynet.cli.main import main

OURS = (
    f"objects/{'0a' * 20}.o",
    "objects/tmpab_c1.tmp",
)
OTHERS = ("notes.txt", "objects/notes.txt", "objects/library.o", "myproject-numba0.62-py313/main.py")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TINYNET_CACHE_DIR", str(tmp_path / "cache"))
    for name in (*OURS, *OTHERS):
        path = tmp_path / "cache" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content")
    return tmp_path / "cache"


def test_only_compiled_code_is_deleted(folder: Path) -> None:
    assert clear() == holding()._replace(n_files=2, n_bytes=14)
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == set(OTHERS)
    assert clear().n_files == 0


def test_info_shows_the_cache_and_empties_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("llvmlite")
    assert main(["info"]) == 0
    told = capsys.readouterr().out
    assert f"kept in       {folder}: 2 files, 0.00 MB, can be written" in told
    assert "code for      " in told
    assert main(["info", "--clear-cache"]) == 0
    assert capsys.readouterr().out == f"deleted 2 files, 0.00 MB in {folder}\n"


def test_why_a_folder_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TINYNET_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert holding().problem.endswith(f": {tmp_path / 'file'}")
    monkeypatch.setenv("TINYNET_CACHE_DIR", str(tmp_path / "new" / "cache"))
    assert holding() == (tmp_path / "new" / "cache", 0, 0, "")
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(os.name != "posix", reason="homes of POSIX")
@pytest.mark.parametrize("relative", ["", "caches"])
def test_a_user_without_a_home_has_no_cache_and_one_with_an_empty_setting_has(
    relative: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pwd

    def nobody(uid: int) -> None:
        raise KeyError(uid)

    for name in ("TINYNET_CACHE_DIR", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", relative)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert place() is None
    assert holding().problem
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert place() == tmp_path / "tinynet"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    found = place()
    assert found is not None
    assert found.is_relative_to(tmp_path)
