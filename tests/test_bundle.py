"""The bundle of the quick commands' modules: used where it is as the sources are, and never needed."""

import gc
import importlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from daemonry import bundle, bundle_writing
from daemonry.bundle import Bundle

SOURCES = {
    "__init__": "",
    "first": "from PACKAGE import second\nVALUE = 1 + second.VALUE\n",
    "second": "VALUE = 41\n",
}
ROOT = Path(__file__).parents[1]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of three modules that nobody has imported, which counts as ours; its name."""
    name = f"bundled_{tmp_path.name.replace('-', '_')}"
    (tmp_path / name).mkdir()
    for module, text in SOURCES.items():
        (tmp_path / name / f"{module}.py").write_text(text.replace("PACKAGE", name))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(bundle_writing, "_OURS", f"{name}.")
    monkeypatch.setattr(bundle_writing, "SETTLED_S", -1.0)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    yield name
    forget(name)


def forget(package):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]
    importlib.invalidate_caches()


def written(tmp_path, package):
    """The path of a bundle with the package's modules; none of them is loaded afterwards."""
    path = tmp_path / "cache" / "quick.bundle"
    importlib.import_module(f"{package}.first")
    made = Bundle(str(path))
    made.packages = {package}
    bundle_writing.write(made)
    forget(package)
    return path


def used(path, package, monkeypatch):
    """Import the package's first module with a bundle in use; return it, and whether all came from there."""
    forget(package)
    finder = Bundle(str(path))
    with monkeypatch.context() as patch:
        patch.setattr(bundle, "_is_alone", lambda: True)  # without the other threads of the test runner
        patch.setattr(sys, "meta_path", [finder, *sys.meta_path])
        first = importlib.import_module(f"{package}.first")
    return first, package not in finder.missed


def test_modules_come_out_of_it_and_look_as_always(tmp_path, package, monkeypatch):
    usual = {name: facts(sys.modules[name]) for name in loaded(package)}
    path = written(tmp_path, package)
    first, all_of_them = used(path, package, monkeypatch)
    assert (first.VALUE, all_of_them) == (42, True)
    assert {name: facts(sys.modules[name]) for name in loaded(package, again=False)} == usual


def loaded(package, again=True):
    if again:
        importlib.import_module(f"{package}.first")
    return [f"{package}.first", f"{package}.second"]


def facts(module):
    spec = module.__spec__
    return (
        module.__name__, module.__file__, module.__package__, getattr(module, "__cached__", None),
        type(module.__loader__), spec.origin, spec.parent, spec.has_location, spec.cached,
        sys.modules[spec.parent].__dict__[spec.name.rpartition(".")[2]] is module,
    )  # fmt: skip


@pytest.mark.parametrize("collects", [True, False])
def test_no_cycles_are_looked_for_while_it_loads(tmp_path, package, monkeypatch, collects):
    """A program that has turned the collector off keeps it off."""
    (tmp_path / package / "second.py").write_text("import gc\nVALUE = int(gc.isenabled())\n")
    path = written(tmp_path, package)
    usual = gc.isenabled()
    try:
        (gc.enable if collects else gc.disable)()
        first, all_of_them = used(path, package, monkeypatch)
        assert (first.VALUE, all_of_them, gc.isenabled()) == (1, True, collects)
    finally:
        (gc.enable if usual else gc.disable)()


def test_no_source_and_no_bytecode_file_is_read(tmp_path, package, monkeypatch):
    path = written(tmp_path, package)
    importlib.import_module(package)
    with monkeypatch.context() as patch:
        patch.setattr(bundle.machinery.FileLoader, "get_data", lambda *_: pytest.fail("a file was read"))
        patch.setattr(sys, "meta_path", [Bundle(str(path)), *sys.meta_path])
        assert importlib.import_module(f"{package}.second").VALUE == 41


@pytest.mark.parametrize("kept", ["nothing", "times", "times and size"])
def test_a_source_that_changed_is_imported_anew(tmp_path, package, monkeypatch, kept):
    """Also by an editor, an archiver or an installer that gives the file the times of the old one."""
    path = written(tmp_path, package)
    source = tmp_path / package / "second.py"
    before = source.stat()
    source.write_text("VALUE = 51\n" if kept == "times and size" else "VALUE = 50 + 1\n")
    if kept != "nothing":
        os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    # Python's own bytecode has the old times too, and would not see it.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for bytecode in (tmp_path / package / "__pycache__").glob("*"):
        bytecode.unlink()
    first, all_of_them = used(path, package, monkeypatch)
    assert (first.VALUE, all_of_them) == (52, False)


def test_a_source_that_has_just_changed_does_not_go_in(tmp_path, package, monkeypatch):
    """What changes once more within the clock's grain would look the same."""
    monkeypatch.setattr(bundle_writing, "SETTLED_S", 3.0)
    assert not written(tmp_path, package).exists()


def test_a_source_that_has_just_changed_is_waited_for(tmp_path, package, monkeypatch):
    """A bundle with the other one alone would serve every command of the next minute."""
    monkeypatch.setattr(bundle_writing, "SETTLED_S", 3.0)
    importlib.import_module(f"{package}.first")
    young = f"/{package}/second.py"
    changed = os.stat

    def stat(path, **options):
        found = changed(path, **options)
        if str(path).endswith(young):
            return found
        return SimpleNamespace(
            **{name: getattr(found, name) for name in dir(found) if name[:3] == "st_"}
            | {"st_mtime": 0.0, "st_ctime": 0.0}
        )

    monkeypatch.setattr(os, "stat", stat)
    assert not written(tmp_path, package).exists()
    young = "/nothing"
    assert written(tmp_path, package).exists()


def test_a_full_one_has_room_for_what_a_command_needs(tmp_path, package, monkeypatch):
    """Modules of earlier commands filled it; each later one was slow, and wrote it again each minute."""
    path = tmp_path / "quick.bundle"
    monkeypatch.setattr(bundle_writing, "MOST_BYTES", 40_000)
    for command in ("able", "zeal"):
        (tmp_path / package / f"{command}.py").write_text(f"VALUE = {'x' * 20_000!r}\n")
        importlib.invalidate_caches()
        importlib.import_module(f"{package}.{command}")
        made = Bundle(str(path))
        made.packages = {package}
        bundle_writing.write(made)
        assert f"{package}.{command}" in Bundle(str(path)).entries
        forget(package)
    assert f"{package}.able" not in Bundle(str(path)).entries


def test_a_lazy_name_looks_for_no_module_that_is_not_there():
    """No bundle can have it, so each command would miss it, and write the bundle again each minute."""
    code = (
        "import sys, daemonry\n"
        "class Spy:\n"
        "    def find_spec(name, path, target=None):\n"
        "        print(name)\n"
        "sys.meta_path.insert(0, Spy)\n"
        "daemonry.errors\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "daemonry.errors\n" in said
    assert "daemonry.errors._" not in said


def test_a_package_elsewhere_is_another_package(tmp_path, package, monkeypatch):
    path = written(tmp_path, package)
    assert Bundle(str(path)).find_spec(f"{package}.second", [str(tmp_path / package)]) is not None
    assert Bundle(str(path)).find_spec(f"{package}.second", [str(tmp_path / "elsewhere" / package)]) is None
    assert Bundle(str(path)).find_spec(f"{package}.second", None) is None


def test_in_a_copied_environment_one_command_puts_all_of_it_right(tmp_path, package, monkeypatch):
    """The original still stands, so that the copied file names sources that are there."""
    path = written(tmp_path, package)
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copytree(tmp_path / package, copy / package)
    monkeypatch.syspath_prepend(str(copy))
    importlib.import_module(f"{package}.second")
    copied = Bundle(str(path))
    copied.packages = {package}
    bundle_writing.write(copied)
    assert {entry[0] for entry in Bundle(str(path)).entries.values()} == {
        str(copy / package / f"{module}.py") for module in ("first", "second")
    }
    _, all_of_them = used(path, package, monkeypatch)
    assert all_of_them


def test_a_corrupt_or_cut_one_is_not_used(tmp_path, package):
    path = written(tmp_path, package)
    whole = path.read_bytes()
    names = [f"{package}.first", f"{package}.second"]

    def codes():
        found = Bundle(str(path))
        specs = [found.find_spec(name, [str(tmp_path / package)]) for name in names]
        return [spec and spec.loader.get_code(name) for name, spec in zip(names, specs, strict=True)]

    good = codes()
    assert None not in good
    for place in [*range(60), *range(60, len(whole), 9)]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        assert codes() != good
        assert all(code in {None, one} for code, one in zip(codes(), good, strict=True))
    for length in range(0, len(whole), 31):
        path.write_bytes(whole[:length])
        assert all(code in {None, one} for code, one in zip(codes(), good, strict=True))


def test_another_file_in_its_place_gives_nothing_and_is_found_missing(tmp_path, package):
    """A command wrote it again between our look at the index and at a module."""
    path = written(tmp_path, package)
    found = Bundle(str(path))
    whole = path.read_bytes()
    start, length = found.entries[f"{package}.second"][6:8]
    place = len(whole) - sum(entry[7] for entry in found.entries.values()) + start
    path.unlink()
    path.write_bytes(whole[:place] + b"x" * length + whole[place + length :])
    assert found.find_spec(f"{package}.second", [str(tmp_path / package)]) is None
    path.unlink()
    assert found.find_spec(f"{package}.first", [str(tmp_path / package)]) is None
    assert found.missed == {package}


def test_it_is_read_by_the_part_and_no_descriptor_stays(tmp_path, package, monkeypatch):
    """A program that finds its daemon has a bundle of a megabyte, and lives on."""
    path = written(tmp_path, package)
    count, read = len(os.listdir("/dev/fd")), []
    with monkeypatch.context() as patch:
        for name in ("read", "pread"):
            real = getattr(os, name)
            patch.setattr(os, name, lambda *words, real=real: read.append(len(data := real(*words))) or data)
        found = Bundle(str(path))
        assert found.find_spec(f"{package}.second", [str(tmp_path / package)]) is not None
    _, length, *_ = found.entries[f"{package}.second"][6:]
    assert sum(read) == path.stat().st_size - sum(
        entry[7] for name, entry in found.entries.items() if name != f"{package}.second"
    )
    assert length in read
    assert len(os.listdir("/dev/fd")) == count


def test_what_future_imports_ask_for_is_done_without_the_module(tmp_path, package, monkeypatch):
    text = '"""Words."""\nfrom __future__ import annotations, division\n\nVALUE: Nobody = 41\n'
    (tmp_path / package / "second.py").write_text(text)
    path = written(tmp_path, package)
    spec = Bundle(str(path)).find_spec(f"{package}.second", [str(tmp_path / package)])
    code = spec.loader.get_code(f"{package}.second")
    assert "__future__" not in code.co_names
    first, all_of_them = used(path, package, monkeypatch)
    second = sys.modules[f"{package}.second"]
    assert (first.VALUE, all_of_them, second.__doc__) == (42, True, "Words.")
    assert second.__annotations__ == {"VALUE": "Nobody"}


def test_what_others_may_have_written_is_not_trusted():
    ours, roots, anothers = os.geteuid(), 0, os.geteuid() + 4711
    for mode, owner, trusted in (
        (0o100644, ours, True),
        (0o100600, roots, True),
        (0o100644, anothers, False),
        (0o100664, ours, False),
        (0o100646, ours, False),
        (0o120777, ours, False),
        (0o010600, ours, False),
        (0o040755, ours, False),
    ):
        assert bundle._is_trusted(SimpleNamespace(st_mode=mode, st_uid=owner)) is trusted


@pytest.mark.parametrize("kind", ["link", "FIFO", "directory", "writable by others"])
def test_an_odd_file_at_its_path_is_left_alone(tmp_path, package, monkeypatch, kind):
    path = written(tmp_path, package)
    if kind == "writable by others":
        path.chmod(0o666)
    else:
        path.rename(tmp_path / "hostile")
        makers = {"link": lambda: path.symlink_to(tmp_path / "hostile"), "FIFO": lambda: os.mkfifo(path)}
        makers.get(kind, path.mkdir)()
    first, all_of_them = used(path, package, monkeypatch)
    assert (first.VALUE, all_of_them) == (42, False)


def test_one_of_another_python_is_not_used(tmp_path, package, monkeypatch):
    path = written(tmp_path, package)
    monkeypatch.setattr(bundle, "HEADER", bundle.HEADER[:-4] + b"\0\0\r\n")
    assert Bundle(str(path)).entries == {}


def test_an_error_in_a_module_comes_from_the_module(tmp_path, package, monkeypatch):
    (tmp_path / package / "second.py").write_text("VALUE = 41 + fail\n")
    caught = f"try:\n    from {package} import second\nexcept NameError:\n    VALUE = 0\n"
    (tmp_path / package / "first.py").write_text(caught)
    path = written(tmp_path, package)
    (tmp_path / package / "first.py").write_text(f"from {package} import second\n")
    with pytest.raises(NameError, match="fail"):
        used(path, package, monkeypatch)
    assert f"{package}.second" not in sys.modules


def test_writers_and_readers_at_once(tmp_path, package):
    path = written(tmp_path, package)
    whole = path.read_bytes()
    importlib.import_module(f"{package}.first")

    def write():
        for _ in range(20):
            made = Bundle(str(path))
            made.packages = {package}
            made.made_s = 0.0
            bundle_writing.write(made)

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert set(Bundle(str(path)).entries) == {f"{package}.first", f"{package}.second"}
    for writer in writers:
        writer.join()
    assert len(path.read_bytes()) == len(whole)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_it_is_not_written_where_it_cannot_or_need_not(tmp_path, package, monkeypatch):
    importlib.import_module(f"{package}.first")

    def result(path=tmp_path / "cache" / "quick.bundle"):
        made = Bundle(str(path))
        made.packages = {package}
        bundle_writing.write(made)
        return path.exists()

    full = SimpleNamespace(f_bavail=10, f_frsize=4096)
    cannot = OSError(28, "No space left on device")

    def fails(*_words, **_options):
        raise cannot

    for where, name, value in (
        (os, "statvfs", lambda _: full),
        (os, "access", lambda *_: False),
        (os, "rename", fails),
        (os, "mkdir", fails),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, value)
            assert not result()
    assert not result(tmp_path / package / "first.py" / "quick.bundle")
    assert list((tmp_path / "cache").iterdir()) == []
    assert result()


@pytest.mark.parametrize(
    ("made_s_ago", "no_bytecode", "missed", "writes"),
    [
        (1e9, False, True, True),
        (1e9, False, False, False),
        (5, False, True, False),
        (-5, False, True, False),
        (61, False, True, True),
        (1e9, True, True, False),
    ],
    ids=["never", "complete", "a moment ago", "in the future", "a minute ago", "no bytecode is wanted"],
)
def test_a_command_loads_the_writer_only_if_it_will_write(
    tmp_path, monkeypatch, made_s_ago, no_bytecode, missed, writes
):
    made = Bundle(str(tmp_path / "none"))
    made.made_s = time.time() - made_s_ago
    made.missed = {"daemonry"} if missed else set()
    monkeypatch.setattr(bundle, "_in_use", made)
    monkeypatch.delitem(sys.modules, "threading")
    monkeypatch.setattr(sys, "dont_write_bytecode", no_bytecode)
    assert bundle.lacking() is (made if writes else None)


# A quick command in a process of its own; it prints the files of ours that it opened.
COMMAND = """\
import json, sys
opened = []
sys.addaudithook(lambda event, words: opened.append(words[0]) if event == "open" else None)
BEFORE
from daemonry.cli.main import run
code = run(["status", "nobody"])
from daemonry import bundle
if bundle.lacking() is not None:
    from daemonry import bundle_writing
    bundle_writing.SETTLED_S = -1
    bundle_writing.write(bundle.lacking())
ours = [str(path) for path in opened if "/daemonry/" in str(path) and str(path).endswith((".py", ".pyc"))]
print(json.dumps([code, bundle._in_use is not None, len(ours)]), file=sys.stderr)
"""


def run(tmp_path, before="", **environment):
    done = subprocess.run(
        [sys.executable, "-S", "-c", COMMAND.replace("BEFORE", before)],
        env={
            "HOME": str(tmp_path),
            "PYTHONPATH": str(ROOT / "src"),
            "PYTHONPYCACHEPREFIX": str(tmp_path / "bytecode"),
            **environment,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "nobody: not running\n"
    return json.loads(done.stderr)


def test_the_second_command_opens_a_few_files_instead_of_all(tmp_path):
    assert run(tmp_path)[:2] == [3, True]
    assert run(tmp_path) == [3, True, 3]  # the package, `cli` and `bundle`
    assert run(tmp_path, DAEMONRY_BUNDLE="0")[2] > 30


ENSURE = """\
import json, sys
import daemonry
from absent import daemon
daemonry.ensure(daemon).close()
import daemonry.launch.zygote.asking
from daemonry import bundle
ours = {name for name in sys.modules if name.startswith("daemonry.")}
print(json.dumps([len(ours) > 60, sorted(ours - bundle._in_use.entries.keys())]))
daemonry.stop("absent")
"""


def test_a_program_that_starts_its_daemon_finds_all_of_our_modules_in_it(sandbox, tmp_path):
    """It writes no bundle: a quick command puts in the modules for it, which the command does not load."""
    sandbox.write("absent.py", "from daemonry import Daemon\ndaemon = Daemon('absent', version='1.0')\n")
    where = {
        "PYTHONPATH": f"{ROOT / 'src'}:{sandbox.path}",
        "PYTHONPYCACHEPREFIX": str(tmp_path / "bytecode"),
    }
    run(tmp_path, **where)
    words = [sys.executable, "-c", ENSURE]
    done = subprocess.run(words, env={**os.environ, **where}, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [True, []]


DAEMON = """\
import json, sys
from daemonry.cli import boot
opened = []
sys.addaudithook(lambda event, words: opened.append(words[0]) if event == "open" else None)
before = set(sys.modules)
boot._load_runner()
finders = [type(finder).__name__ for finder in sys.meta_path]
ours = {name for name in set(sys.modules) - before if name.startswith("daemonry.")}
files = [str(path) for path in opened if "/daemonry/" in str(path) and str(path).endswith((".py", ".pyc"))]
from daemonry.bundle import DAEMON, Bundle, path_of
missing = sorted(ours - Bundle(path_of(DAEMON)).entries.keys())
print(json.dumps([len(ours) > 80, len(files), missing, finders]))
"""


def test_a_daemon_opens_none_of_our_files(tmp_path):
    """A quick command writes its bundle, too; and what it imports later it finds as always."""
    run(tmp_path)
    where = {"PYTHONPATH": str(ROOT / "src"), "PYTHONPYCACHEPREFIX": str(tmp_path / "bytecode")}

    def found(**environment):
        words = [sys.executable, "-c", DAEMON]
        env = {**os.environ, **where, **environment}
        return json.loads(subprocess.run(words, env=env, capture_output=True, check=True).stdout)

    many, files, missing, finders = found()
    assert (many, files, missing, finders.count("Bundle")) == (True, 0, [], 1)
    many, files, _, finders = found(DAEMONRY_BUNDLE="0")
    assert (many, files > 80, finders.count("Bundle")) == (True, True, 0)


def test_a_daemons_modules_fit(tmp_path):
    """With a fifth to spare: one that is left out is imported as always, and nobody would hear of it."""
    run(tmp_path)
    (path,) = (tmp_path / "bytecode").rglob("daemonry-daemon.*.bundle")
    entries = Bundle(str(path)).entries
    assert "daemonry.runtime.runner" in entries
    assert sum(entry[7] for entry in entries.values()) < bundle.MOST_BYTES * 3 / 4 * 0.8


HOOK = """\
import importlib.machinery as m
class Hook(m.SourceFileLoader): pass
natives = (m.ExtensionFileLoader, m.EXTENSION_SUFFIXES)
sys.path_hooks.insert(0, m.FileFinder.path_hook(natives, (Hook, ['.py'])))
sys.path_importer_cache.clear()
"""
FINDER = """\
from importlib.machinery import PathFinder
sys.meta_path.remove(PathFinder)
sys.meta_path.append(type('Mine', (), {'find_spec': staticmethod(PathFinder.find_spec)}))
"""


THREAD = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"


def test_a_program_may_have_loaded_what_makes_threads(tmp_path):
    """As `logging`, `subprocess` and `concurrent.futures` do, and so most programs."""
    run(tmp_path)
    assert run(tmp_path, "import threading, logging, subprocess\n") == [3, True, 3]


@pytest.mark.parametrize(
    "before", [THREAD, HOOK, FINDER], ids=["threads", "a hook for sources", "another finder"]
)
def test_it_is_off_where_the_process_is_an_unusual_one(tmp_path, before):
    code, on, _ = run(tmp_path, before)
    assert (code, on) == (3, False)
    assert not list((tmp_path / "bytecode").rglob("*.bundle"))
