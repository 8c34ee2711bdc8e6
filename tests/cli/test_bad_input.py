"""Bad input and bad surroundings, line by line of the issue.

Each is one clear line, exit code 1 or 2, no traceback, nothing lost and nothing half started.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from daemonry.process import lock

CONFIGURED = """\
from dataclasses import dataclass
from daemonry import Daemon

@dataclass
class Settings:
    every_s: float = 1.0

daemon = Daemon("probe", config=Settings)
"""


def one_line(done, code=1):
    """Return the one line that was printed."""
    assert (done.code, done.out) == (code, ""), done
    assert done.err.count("\n") == 1, done.err
    return done.err.removesuffix("\n")


def nothing_begun(sandbox):
    assert not lock.is_held(sandbox.place("probe").life_lock_path)
    assert not os.path.lexists(sandbox.place("probe").socket_path)
    assert not os.path.exists(sandbox.place("probe").record_path)
    assert sandbox.daemonry("ps").out == "no daemons\n"


# --- configuration --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("every_s = [\n", "2:1: not TOML: "),
        ("evry_s = 2\n", "1:1: evry_s: is not known: did you mean 'every_s'?"),
    ],
    ids=["does not parse", "unknown key"],
)
@pytest.mark.parametrize("verb", ["start", "run"])
def test_a_configuration_that_is_none(sandbox, verb, text, told):
    sandbox.write("probe.py", CONFIGURED)
    config = sandbox.write("bad.toml", text)
    line = one_line(sandbox.daemonry(verb, "probe.py", "--config", config))
    prefix = "probe: start failed (config): " if verb == "start" else ""
    assert line.startswith(f"{prefix}{config}:{told}")
    nothing_begun(sandbox)


# --- a working directory that was removed ----------------------------------------------------------


def in_removed_directory(sandbox, *words):
    """Run the installed command: `python -m` itself does not run there with every Python."""
    script = 'mkdir gone && cd gone && rmdir ../gone && exec "$@"'
    return sandbox.run("sh", "-c", script, "sh", *words)


def test_in_a_removed_directory_a_program_starts_by_its_whole_path(sandbox, program):
    daemonry = Path(sys.executable).parent / "daemonry"
    assert in_removed_directory(sandbox, daemonry, "start", program).code == 0
    assert in_removed_directory(sandbox, sys.executable, program, "status").code == 0
    assert in_removed_directory(sandbox, sys.executable, program, "stop").code == 0
    assert in_removed_directory(sandbox, sys.executable, program, "start").code == 0
    assert in_removed_directory(sandbox, daemonry, "stop", "probe").code == 0


@pytest.mark.parametrize("words", [("start", "other.py"), ("up", "--home", ".")])
def test_in_a_removed_directory_what_is_relative_to_it_is_refused(sandbox, words):
    daemonry = Path(sys.executable).parent / "daemonry"
    told = one_line(in_removed_directory(sandbox, daemonry, *words))
    assert told == "the working directory was removed: change to another one"


# --- a runtime directory that cannot be used ------------------------------------------------------


@pytest.mark.parametrize("verb", ["start", "run"])
def test_a_runtime_directory_of_another_user(sandbox, program, root, verb):
    theirs = sandbox.path / "run/probe"
    theirs.mkdir(mode=0o700)
    os.chown(theirs, 12345, 12345)
    line = one_line(sandbox.daemonry(verb, program))
    prefix = "probe: start failed (bind): " if verb == "start" else ""
    assert prefix in line
    assert line.endswith(f"{theirs}: belongs to user 12345, not to 0")
    os.rmdir(theirs)
    nothing_begun(sandbox)


@pytest.mark.parametrize("kind", ["open to others", "symbolic link", "file"])
def test_a_runtime_directory_that_is_not_safe(sandbox, program, kind):
    path = sandbox.path / "run/probe"
    if kind == "open to others":
        path.mkdir(mode=0o755)
        reason = "is open to others (mode 0755): chmod 700 it"
    elif kind == "file":
        path.write_text("")
        reason = "is not a directory"
    else:
        path.symlink_to(sandbox.path)
        reason = "is a symbolic link"
    assert one_line(sandbox.daemonry("start", program)) == f"probe: start failed (bind): {path}: {reason}"


def test_a_state_directory_of_another_user(sandbox, program, root):
    theirs = sandbox.path / "state"
    theirs.mkdir()
    os.chown(theirs, 12345, 12345)
    sandbox.env["PROBE_STATE"] = str(theirs)
    assert one_line(sandbox.daemonry("start", program)) == f"{theirs}: belongs to user 12345"
    assert list(theirs.iterdir()) == []


@pytest.fixture
def alone(sandbox):
    """The name of a daemon of this test alone: its directory may be one that all tests share."""
    name = f"probe-{os.getpid()}"
    sandbox.write(f"{name}.py", f"from daemonry import Daemon\ndaemon = Daemon('{name}')\n")
    return name


def test_another_users_xdg_runtime_dir_is_left_alone(sandbox, alone, root):
    """After `su`, the variable names the other's: the daemon lives in a directory of its own then."""
    theirs = sandbox.path / "theirs"
    theirs.mkdir(mode=0o700)
    os.chown(theirs, 12345, 12345)
    sandbox.env["XDG_RUNTIME_DIR"] = str(theirs)
    started = sandbox.daemonry("start", f"{alone}.py", "--json")
    endpoint = started.json()["endpoint"]
    try:
        assert str(theirs) not in endpoint
        assert sandbox.daemonry("status", alone).code == 0
        assert list(theirs.iterdir()) == []
    finally:
        assert sandbox.daemonry("stop", alone).code == 0
        assert not os.path.exists(os.path.dirname(endpoint.removeprefix("unix:"))), "it goes with the daemon"


@pytest.mark.parametrize("variable", ["PROBE_STATE", "PROBE_RUNTIME", "PROBE_CONFIG"])
def test_a_directory_that_is_not_absolute(sandbox, variable):
    sandbox.write("probe.py", CONFIGURED)
    sandbox.env[variable] = "here"
    line = one_line(sandbox.daemonry("start", "probe.py"))
    assert line.endswith(f"here: {variable} must be an absolute path")


# --- file systems ---------------------------------------------------------------------------------

ON_DISK = """
from daemonry.testing import Sandbox

def show(*words):
    done = box.daemonry(*words)
    told = (done.out + done.err).replace(disk, "DISK")
    print(done.code, told, end="")
    assert told.count("\\n") == 1, told

with Sandbox() as box:
    box.write("probe.py", "from daemonry import Daemon\\ndaemon = Daemon('probe')\\n")
    os.mkdir(disk + "/there", 0o700)
"""


def test_a_read_only_runtime_directory(on_tiny_disk):
    """Fault 17: the line names the directory, and nothing that was begun is left."""
    script = """
    box.env["XDG_RUNTIME_DIR"] = disk + "/there"
    make_read_only()
    for verb in ("start", "run"):
        show(verb, "probe.py")
    show("status", "probe")
    show("ps")
"""
    cannot = "DISK/there/probe: cannot be made: Read-only file system"
    lines = on_tiny_disk(ON_DISK + script).splitlines()
    assert lines[0] == f"1 probe: start failed (bind): {cannot}"
    assert lines[1].startswith("1 ")
    assert lines[1].endswith(cannot)
    assert lines[2:] == ["3 probe: not running", "0 no daemons"]


def test_a_read_only_home(on_tiny_disk):
    script = """
    box.env["HOME"] = disk + "/there"
    make_read_only()
    for words in (("start", "probe.py"), ("run", "probe.py"), ("status", "probe"), ("ps",)):
        show(*words)
"""
    cannot = "DISK/there/.local: cannot be made: Read-only file system"
    assert on_tiny_disk(ON_DISK + script).splitlines() == [
        f"1 {cannot}",
        f"1 {cannot}",
        "3 probe: not running",
        "0 no daemons",
    ]


FULL = """
    import glob
    box.env["HOME"] = disk + "/there"

    def remembered():
        return open(glob.glob(disk + "/there/.local/state/probe/*/probe.start.json")[0]).read()

    show("start", "probe.py")
    show("stop", "probe")
    before = remembered()
    fill()
    show("start", "probe.py")
    show("start", "probe.py", "--log-level", "debug")
    done = box.daemonry("run", "probe.py")
    print(done.code, done.err.splitlines()[-1].replace(disk, "DISK"), box.leftovers())
    show("status", "probe")
    os.unlink(disk + "/filler")
    print(before == remembered())
    show("start", "probe")
    show("stop", "probe")
"""


def test_a_full_disk(on_tiny_disk):
    """Fault 16: the start is refused, what was written before is whole, and with room again all works."""
    lines = on_tiny_disk(ON_DISK + FULL, size="128k", files=64).splitlines()
    assert [line.split()[0] for line in lines] == ["0", "0", "1", "1", "1", "3", "True", "0", "0"]
    for line in lines[2:4]:
        assert "DISK/there/.local/state/probe/" in line
        assert line.endswith("No space left on device")
    assert lines[4].endswith("probe.json: cannot be written: No space left on device nothing")


def test_a_disk_without_room_for_one_more_file(on_tiny_disk):
    """Fault 16: a socket needs no block, but an inode."""
    script = """
    box.env["XDG_RUNTIME_DIR"] = disk + "/there"
    os.mkdir(disk + "/there/probe", 0o700)
    number = 0
    try:
        while True:
            open(f"{disk}/{number}", "x").close()
            number += 1
    except OSError:
        pass
    show("start", "probe.py")
    show("status", "probe")
"""
    assert on_tiny_disk(ON_DISK + script).splitlines() == [
        "1 probe: start failed (bind): cannot listen at DISK/there/probe/probe.sock: No space left on device",
        "3 probe: not running",
    ]


# --- an environment with little in it -------------------------------------------------------------


@pytest.fixture
def stranger(root, sandbox):
    """A function that runs `daemonry` as a user whom the password database does not know.

    With no variable but those given.  The interpreter may live where only root can read, hence
    the capability.
    """
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv")
    capable = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    words = ("setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", *capable)
    kept = {name: sandbox.env[name] for name in ("PATH", "DAEMONRY_SANDBOX")}
    probe = subprocess.run([*words, "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip("setpriv is not allowed here")

    def run(*command, **variables):
        sandbox.env = {**kept, **variables}
        return sandbox.run(*words, sys.executable, "-m", "daemonry", *command)

    return run


@pytest.mark.parametrize(
    ("home", "told"),
    [({}, "no home directory is known"), ({"HOME": "here"}, "HOME is 'here', which is not an absolute path")],
    ids=["no HOME", "a relative HOME"],
)
@pytest.mark.parametrize(
    "words", [("start", "probe.py"), ("run", "probe.py"), ("status", "probe"), ("ps",), ("logs", "probe")]
)
def test_no_home(stranger, program, words, home, told):
    line = one_line(stranger(*words, **home))
    assert line == f"~: {told}: set HOME or XDG_STATE_HOME"


@pytest.mark.parametrize("verb", ["start", "run"])
def test_an_empty_home(stranger, program, verb):
    """Whatever is made of it, it is no place where another user may write."""
    line = one_line(stranger(verb, "probe.py", HOME=""))
    assert line in (
        "/.local: cannot be made: Permission denied",
        "~: no home directory is known: set HOME or XDG_STATE_HOME",
    )


def test_without_home_a_state_directory_is_enough(stranger, program, sandbox):
    """As for a service: two directories are given, and nothing is looked up."""
    for name in ("state", "runtime"):
        (sandbox.path / name).mkdir(mode=0o700)
        os.chown(sandbox.path / name, 12345, 12345)
    given = {"XDG_STATE_HOME": str(sandbox.path / "state"), "PROBE_RUNTIME": str(sandbox.path / "runtime")}
    os.chmod(sandbox.path, 0o711)
    started = stranger("start", "probe.py", **given)
    assert (started.code, started.err) == (0, "")
    assert stranger("status", "probe", **given).code == 0
    assert stranger("stop", "probe", **given).code == 0


def test_no_xdg_runtime_dir(sandbox, alone):
    """Cron and plain ssh have none: a directory of the user's own in /run/user or /tmp takes its place."""
    del sandbox.env["XDG_RUNTIME_DIR"]
    started = sandbox.daemonry("start", f"{alone}.py", "--json")
    assert started.code == 0
    path = Path(started.json()["endpoint"].removeprefix("unix:"))
    try:
        assert str(path.parent) in (f"/run/user/{os.geteuid()}/{alone}", f"/tmp/{alone}-{os.geteuid()}")
        assert path.parent.stat().st_mode & 0o777 == 0o700
    finally:
        assert sandbox.daemonry("stop", alone).code == 0
        if str(path).startswith("/run/"):
            path.parent.rmdir()  # one in /tmp goes with the daemon
        assert not path.parent.exists()


@pytest.mark.parametrize("value", ["", "relative", "/nowhere"])
def test_an_xdg_runtime_dir_that_is_none(sandbox, alone, value):
    """Fault 33: what the specification forbids, and what is not there, is as good as not set."""
    sandbox.env["XDG_RUNTIME_DIR"] = value
    endpoint = sandbox.daemonry("start", f"{alone}.py", "--json").json()["endpoint"]
    try:
        assert endpoint.startswith(
            (f"unix:/run/user/{os.geteuid()}/{alone}/", f"unix:/tmp/{alone}-{os.geteuid()}/")
        )
        assert sandbox.daemonry("status", alone).code == 0
    finally:
        assert sandbox.daemonry("stop", alone).code == 0
        assert not os.path.exists(os.path.dirname(endpoint.removeprefix("unix:"))), "it goes with the daemon"


def test_a_squatted_directory_in_tmp_is_refused(sandbox, alone, root):
    """F18: somebody else made /tmp/NAME-UID before us; `makedirs` would have taken it."""
    del sandbox.env["XDG_RUNTIME_DIR"]
    squatted = Path(f"/tmp/{alone}-{os.geteuid()}")
    if os.path.isdir(f"/run/user/{os.geteuid()}"):
        pytest.skip("this user has a runtime directory")
    squatted.mkdir(mode=0o700)
    try:
        os.chown(squatted, 12345, 12345)
        line = one_line(sandbox.daemonry("start", f"{alone}.py"))
        assert line == f"{alone}: start failed (bind): {squatted}: belongs to user 12345, not to 0"
    finally:
        squatted.rmdir()


# --- files that were damaged ----------------------------------------------------------------------


@pytest.mark.parametrize("damage", ['{"pid', "[]", '{"pid":"x"}', "", "\xff", '{"a":1,}', "9" * 70000])
def test_a_damaged_record_is_as_good_as_none(sandbox, program, damage):
    """A torn disk, or a hand: the lock and the socket's usual path still tell."""
    instance = sandbox.start(program)
    good = Path(instance.place.record_path).read_text()
    Path(instance.place.record_path).write_text(damage, encoding="latin-1")
    status = sandbox.daemonry("status", "probe", "--json")
    assert (status.code, status.err) == (0, "")
    assert sandbox.daemonry("ps", "--json").json()[0]["state"] == "running"
    assert sandbox.daemonry("start", program).out == "probe: already running\n"
    Path(instance.place.record_path).write_text(good)


@pytest.mark.parametrize(
    "damage", ['{"target', "[]", "{}", "", '{"arguments":1,"import_path":"","python":"","target":""}']
)
def test_a_damaged_memory_of_how_it_was_started(sandbox, program, damage):
    sandbox.start(program)
    assert sandbox.daemonry("stop", "probe").code == 0
    Path(sandbox.place("probe").start_path).write_text(damage)
    line = one_line(sandbox.daemonry("start", "probe"), code=2)
    assert line.endswith("no daemon of this name was started here: give its module or file")
    assert sandbox.daemonry("start", program).code == 0


def test_a_lock_file_that_is_a_link_is_refused(sandbox, program):
    """Whoever could place it would choose what we open."""
    sandbox.start(program)
    assert sandbox.daemonry("stop", "probe").code == 0
    lock_path = Path(sandbox.place("probe").life_lock_path)
    lock_path.unlink()
    lock_path.symlink_to(sandbox.path / "elsewhere")
    line = one_line(sandbox.daemonry("start", "probe"))
    assert line.endswith(f"{lock_path}: cannot be opened: is a symbolic link and not a regular file")
    assert not (sandbox.path / "elsewhere").exists()
