"""The cache of generated code: whatever happens to it, code is compiled again, and nobody waits for ever."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tinynet_kernels.cpu.generated import cache, compiler, library

CODE = """
import sys
from tinynet_kernels.cpu.generated import compiler, library
made = []
compile = compiler.to_object
compiler.to_object = lambda text, target: made.append(text) or compile(text, target)
found = library.addresses("float32", ["activation:relu", "step:sgd"])
assert all(found.values())
# What writes code is imported by those who have to compile.
assert bool(made) == ("tinynet_kernels.cpu.generated.units" in sys.modules)
print(len(made))
"""


def compiled(folder: Path, before: str = "") -> int:
    """Ask for two units in a new process, in which something is done before; return how many it compiled."""
    environment = {**os.environ, "TINYNET_CACHE_DIR": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", before + CODE]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return int(result.stdout)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)


def put_a_folder_in_its_place(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], None]] = {
    "cut off": cut_off,
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a bit": flip_a_bit,
    "foreign": lambda path: path.write_bytes(b"\x7fELF and so on"),
    "gone": lambda path: path.unlink(),
    "a folder": put_a_folder_in_its_place,
}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    assert compiled(folder) == 2
    return folder


def test_a_second_process_compiles_nothing(filled: Path) -> None:
    assert compiled(filled) == 0


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_not_trusted(
    name: str, filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(filled, tmp_path / "cache")
    monkeypatch.setenv("TINYNET_CACHE_DIR", str(tmp_path / "cache"))
    (first, *_) = sorted((tmp_path / "cache" / "objects").iterdir())
    assert cache.read(first.name) is not None
    DAMAGES[name](first)
    assert cache.read(first.name) is None
    cache.write(first.name, b"anew")
    # A folder in the file's place stays; nothing is kept, and nothing is said.
    assert cache.read(first.name) == (None if name == "a folder" else b"anew")
    assert not list(first.parent.glob("*.tmp"))


def test_a_damaged_cache_costs_a_compilation_and_no_result(filled: Path, tmp_path: Path) -> None:
    shutil.copytree(filled, tmp_path / "cache")
    for path in (tmp_path / "cache" / "objects").iterdir():
        flip_a_bit(path)
    assert compiled(tmp_path / "cache") == 2
    assert compiled(tmp_path / "cache") == 0


def test_where_nothing_can_be_kept_code_is_compiled_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    assert compiled(tmp_path / "file" / "cache") == 2


def test_a_full_disk_costs_a_compilation_and_leaves_nothing_behind(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="this system does not limit the size of files")
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
    assert compiled(tmp_path, full) == 2
    assert not list((tmp_path / "objects").iterdir())


@pytest.mark.parametrize("function", ["mkstemp", "replace"])
def test_a_folder_that_may_not_be_written_stays_as_it_is(
    function: str, filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(filled, tmp_path / "cache")
    monkeypatch.setenv("TINYNET_CACHE_DIR", str(tmp_path / "cache"))
    before = sorted((tmp_path / "cache" / "objects").iterdir())

    def refuse(*given: object, **named: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile if function == "mkstemp" else os, function, refuse)
    cache.write(cache.name_of("another"), b"code")
    assert sorted((tmp_path / "cache" / "objects").iterdir()) == before
    assert cache.read(before[0].name)


def places_without_execution() -> list[Path]:
    """Return folders that can be written, and from which nothing can be run."""
    mounts = Path("/proc/mounts")
    lines = mounts.read_text().splitlines() if mounts.exists() else []
    found = [Path(line.split()[1]) for line in lines if "noexec" in line.split()[3].split(",")]
    return [place for place in found if os.access(place, os.W_OK) and place.parts[1] not in ("proc", "sys")]


def test_where_nothing_may_be_run_code_is_kept_and_loaded() -> None:
    for place in places_without_execution():
        with tempfile.TemporaryDirectory(dir=place) as folder:
            assert compiled(Path(folder)) == 2
            assert compiled(Path(folder)) == 0
            return
    pytest.skip("no folder here is mounted noexec and can be written")


def test_a_cache_that_is_deleted_while_it_is_used_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYNET_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(library, "_addresses", {})
    used = library.addresses("float32", ["activation:relu"])
    shutil.rmtree(tmp_path / "cache")
    assert library.addresses("float32", ["activation:relu"]) == used
    assert all(library.addresses("float32", ["step:sgd"]).values())
    assert len(list((tmp_path / "cache" / "objects").iterdir())) == 1


def test_a_file_with_the_name_of_another_is_no_file(
    filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYNET_CACHE_DIR", str(tmp_path))
    first, second = sorted((filled / "objects").iterdir())
    (tmp_path / "objects").mkdir()
    shutil.copy(first, tmp_path / "objects" / second.name)
    assert cache.read(second.name) is None


def test_threads_that_ask_at_once_get_the_same_code_which_is_compiled_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYNET_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(library, "_addresses", {})
    made: list[str] = []
    compile_ = compiler.to_object
    monkeypatch.setattr(compiler, "to_object", lambda text, target: made.append(text) or compile_(text, target))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: library.addresses("float64", ["activation:tanh", "step:adam"]), range(16)))
    assert all(addresses == found[0] for addresses in found)
    assert len(made) == 2


def test_what_the_code_is_written_by_is_part_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    before = cache.name_of("core", "float32")
    assert before != cache.name_of("core", "float64")
    monkeypatch.setattr(cache, "sources_digest", lambda: "other sources")
    assert before != cache.name_of("core", "float32")


def test_several_processes_may_begin_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(compiled, [tmp_path] * 3))
    assert compiled(tmp_path) == 0


FORK = """
import os, threading
from tinynet_kernels.cpu.generated import library, units
begun, text_of = threading.Event(), units.text_of
def slowly(unit, dtype, target):
    begun.set()
    return text_of(unit, dtype, target)
units.text_of = slowly
thread = threading.Thread(target=library.addresses, args=("float64", ["core", "activation:gelu"]))
thread.start()
begun.wait()
child = os.fork()
if child == 0:
    found = library.addresses("float64", ["core", "activation:relu"])
    os._exit(0 if all(found.values()) else 1)
thread.join()
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fork_while_another_thread_compiles_can_compile(tmp_path: Path) -> None:
    environment = {**os.environ, "TINYNET_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "ignore", "-c", FORK]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert result.stdout.strip() == "0"
