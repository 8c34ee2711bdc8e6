"""Which daemon is meant: a name, an endpoint, a file, a module's attribute; from wherever one stands."""

import json
import os
import re
import sys

import pytest

from daemonry.errors import TargetInvalid
from daemonry.testing import wait_until
from daemonry.transport.endpoint import Endpoint

TWO = """\
from daemonry import Daemon

first = Daemon("first")
second = Daemon("second")
"""


def names(shown):
    return re.match(r"(\S+): ", shown.out).group(1)


@pytest.fixture
def started(sandbox, program):
    return sandbox.start(program)


@pytest.mark.parametrize("verb", ["status", "logs"])
def test_each_kind_of_target_means_the_same_daemon(sandbox, started, verb):
    box = sandbox.path
    for target in (
        *("probe", "probe.py", "./probe.py", "probe.py:daemon", "probe:daemon"),
        *(f"{box}/probe.py", f"{box}/probe.py:daemon"),
    ):
        done = sandbox.daemonry(verb, target)
        assert (done.code, done.err) == (0, ""), target
        assert "probe" in done.out, target


@pytest.mark.parametrize("form", ["unix:{path}", "{path}"])
def test_an_endpoint_is_asked_as_it_is(sandbox, started, form):
    endpoint = form.format(path=started.place.socket_path)
    shown = sandbox.daemonry("status", endpoint)
    assert shown.out.startswith(f"unix:{started.place.socket_path}: running\n")
    assert sandbox.daemonry("ping", endpoint, "--json").json()["name"] == f"unix:{started.place.socket_path}"
    assert sandbox.daemonry("stop", endpoint).out == f"unix:{started.place.socket_path}: stopped\n"
    wait_until(lambda: started.lock_held() is False)


def test_a_daemon_over_tcp_is_known_by_name_and_by_endpoint(sandbox):
    """Port 0 takes a free one, which the record names."""
    program = sandbox.write(
        "tcp.py", "from daemonry import Daemon\ndaemon = Daemon('overtcp', endpoint='tcp:127.0.0.1:0')\n"
    )
    instance = sandbox.start(program)
    endpoint = instance.record().endpoint
    bare = Endpoint.parse(endpoint).bare
    port = bare.rpartition(":")[2]
    assert int(port) > 0
    for target in ("overtcp", endpoint, f"tcp://127.0.0.1:{port}", f"127.0.0.1:{port}", f"localhost:{port}"):
        assert sandbox.daemonry("ping", target).code == 0, target
    assert sandbox.daemonry("stop", endpoint).out == f"{bare}: stopped\n"
    assert sandbox.daemonry("ping", endpoint).code == 3
    wait_until(lambda: instance.lock_held() is False)


def test_a_daemon_at_a_path_of_its_own_is_found_by_its_name(sandbox):
    path = sandbox.path / "own/place.sock"
    program = sandbox.write(
        "own.py", f"from daemonry import Daemon\ndaemon = Daemon('own', endpoint='unix:{path}')\n"
    )
    sandbox.start(program)
    assert path.is_socket()
    assert sandbox.daemonry("status", "own").code == 0
    assert sandbox.daemonry("stop", "own").code == 0
    assert not path.exists()


def test_a_module_is_looked_for_where_one_stands(sandbox):
    """A console script has no directory of its own to look in, as `python -m` has."""
    sandbox.write("package/__init__.py", "")
    sandbox.write("package/served.py", "from daemonry import Daemon\ndaemon = Daemon('served')\n")
    started = sandbox.daemonry("start", "package.served:daemon")
    assert started.code == 0, started
    assert names(sandbox.daemonry("status", "package.served:daemon")) == "served"
    assert names(sandbox.daemonry("status", "served")) == "served"


def test_a_name_that_was_started_once_can_be_started_from_anywhere(sandbox, shell):
    """How it was started is remembered: its interpreter, its options, where modules are looked for."""
    sandbox.write("package/__init__.py", "")
    sandbox.write("package/served.py", "from daemonry import Daemon\ndaemon = Daemon('served')\n")
    assert shell("daemonry start package.served:daemon --log-level warning").code == 0
    assert shell("daemonry stop served").code == 0
    assert shell("cd / && daemonry start served").out.startswith("served: ready at ")
    log = sandbox.place("served").log_path
    assert shell(f"cd / && daemonry restart served && ! grep ready {log}").code == 0


def test_a_file_is_found_again_from_anywhere(sandbox, shell, program):
    assert shell("daemonry start probe.py && daemonry stop probe").code == 0
    assert shell("cd / && daemonry start probe").code == 0
    assert shell("cd / && daemonry run probe").out == ""
    assert shell("cd / && daemonry restart probe").code == 0


def test_a_file_imports_what_lies_beside_it(sandbox):
    sandbox.write("beside.py", "NAME = 'beside'\n")
    program = sandbox.write(
        "deep/down.py", "import near\nfrom daemonry import Daemon\ndaemon = Daemon(near.NAME)\n"
    )
    sandbox.write("deep/near.py", "NAME = 'near'\n")
    assert names(sandbox.daemonry("start", program)) == "near"


def test_a_file_with_the_name_of_a_module_does_not_take_its_place(sandbox):
    """A program called abc.py must not become `abc` for everybody else in the process."""
    program = sandbox.write("abc.py", "from daemonry import Daemon\ndaemon = Daemon('called-abc')\n")
    started = sandbox.run(sys.executable, "-P", "-m", "daemonry", "start", program)
    assert names(started) == "called-abc"


def test_of_several_in_a_file_one_is_named(sandbox):
    path = sandbox.write("two.py", TWO)
    unclear = sandbox.daemonry("start", path)
    assert unclear == (
        2,
        "",
        f"'{path}' names no daemon: several Daemons are defined there: add :first or :second\n",
    )
    for name in ("second", "first"):
        assert names(sandbox.daemonry("start", f"{path}:{name}")) == name
    assert sandbox.daemonry("status", "second").code == 0
    assert sandbox.daemonry("stop", f"{path}:second").out == "second: stopped\n"
    assert sandbox.daemonry("status", "first").code == 0


def test_a_program_that_is_run_finds_itself_again(sandbox, shell, program):
    """`python program.py start`: the new process has to know which file, whatever directory it starts in."""
    assert shell(f"cd / && python {program} start").out.startswith("probe: ready at ")
    assert shell("daemonry status probe").code == 0
    assert shell("python probe.py restart").code == 0
    assert shell("cd / && daemonry restart probe").code == 0


def test_a_package_that_is_run_finds_itself_again(sandbox, shell):
    sandbox.write("tool/__init__.py", "")
    text = "from daemonry import Daemon\nserver = Daemon('server')\n"
    sandbox.write("tool/cli.py", text + "if __name__ == '__main__':\n    server.main()\n")
    assert shell("python -m tool.cli start").out.startswith("server: ready at ")
    assert shell("cd / && daemonry restart server").code == 0


def test_a_sockets_relative_path_begins_at_the_present_directory(sandbox, shell, program):
    assert shell("daemonry start probe.py").code == 0
    directory, name = os.path.split(sandbox.place("probe").socket_path)
    for path in (f"./{name}", f"../{os.path.basename(directory)}/{name}"):
        assert shell(f"cd {directory} && daemonry ping {path}").code == 0
    assert shell("cd / && daemonry ping ./probe.sock").err == "unix:/probe.sock: not running\n"
    assert shell("daemonry stop probe").code == 0


NO_DAEMON = [
    ("start", "dir/name", "an endpoint does not tell how to start what listens there"),
    ("status", "", "a name cannot be empty"),
    ("status", ".hidden", "a name starts with a letter or a digit"),
    ("status", "..", "a name starts with a letter or a digit"),
    ("status", "a b", "a name cannot have ' ' in it (letters, digits, '-', '_', '.')"),
    ("status", "na\x1b[2Jme", "a name cannot have '\\x1b' in it (letters, digits, '-', '_', '.')"),
    ("status", "x" * 65, "a name has at most 64 characters"),
    ("start", "unknown", "no daemon of this name was started here: give its module or file"),
    ("run", "unknown", "no daemon of this name was started here: give its module or file"),
    ("restart", "unknown", "no daemon of this name was started here: give its module or file"),
    ("start", "nosuch.py", "there is no such file"),
    ("status", "nosuch.py", "there is no such file"),
    ("start", "nosuch:x", "it cannot be imported: ModuleNotFoundError: No module named 'nosuch'"),
    ("start", "os:path", "'path' is not a Daemon there"),
    ("start", "os:nothing", "'nothing' is not a Daemon there"),
    ("start", "unix:/x.sock", "an endpoint does not tell how to start what listens there"),
    ("logs", "unix:/x.sock", "an endpoint does not tell where the log is: give the daemon's name"),
    ("logs", "ssh:me@box:22/x", "its files are on that machine: give --host me@box:22 and the name x"),
    ("restart", "ssh:box/x", "its files are on that machine: give --host box and the name x"),
    ("logs", "ssh:[::1]//x.sock", "its files are on that machine: give --host [::1] and the daemon's name"),
]
NO_ENDPOINT = [
    ("unix:", "there is no path"),
    ("unix:relative.sock", "the path must be absolute"),
    ("unix:/dir/", "the path names a directory"),
    ("unix:@", "there is no name after the @"),
    ("tcp:host", "expected host:port"),
    ("tcp:host:99999", "'99999' is not a port (0 to 65535)"),
    ("tcp:a b:80", "'a b' is not a valid host"),
    ("http://host:80", "the scheme 'http' is not known"),
    ("fd:x", "'x' is not a descriptor (0 to 2147483647)"),
    ("pipe:a/b", "a pipe's name has letters, digits, '-', '_' and '.' only"),
]


def in_one_line(sandbox, verb, target):
    told = sandbox.daemonry(verb, target)
    assert (told.code, told.out) == (2, "")
    assert told.err.count("\n") == 1
    assert "\x1b" not in told.err
    assert not (sandbox.path / "home/.local").exists(), "something was begun"
    return told.err.removesuffix("\n")


@pytest.mark.parametrize(("verb", "target", "reason"), NO_DAEMON)
def test_what_means_no_daemon_is_told_in_one_line(sandbox, verb, target, reason):
    """Bad input: exit code 2, and nothing is begun."""
    assert in_one_line(sandbox, verb, target).endswith(f" names no daemon: {reason}")


@pytest.mark.parametrize(("target", "reason"), NO_ENDPOINT)
@pytest.mark.parametrize("verb", ["status", "stop"])
def test_what_is_no_endpoint_is_told_in_one_line(sandbox, verb, target, reason):
    assert in_one_line(sandbox, verb, target) == f"{target!r} is not an endpoint: {reason}"


@pytest.mark.parametrize("target", ["unix:/nowhere/x.sock", "/nowhere/x.sock", "tcp:127.0.0.1:1"])
def test_an_endpoint_where_nobody_listens_is_not_running(sandbox, target):
    named = target if ":" in target else f"unix:{target}"
    assert sandbox.daemonry("status", target) == (3, f"{named}: not running\n", "")
    assert sandbox.daemonry("ping", target) == (3, "", f"{named}: not running\n")
    assert sandbox.daemonry("stop", target) == (0, f"{named}: not running\n", "")


def test_a_pipe_is_told_to_be_of_another_system(sandbox):
    told = sandbox.daemonry("status", "pipe:name")
    assert told.code == 2
    assert told.err.startswith("'pipe:name' is not an endpoint: ")
    assert told.err.count("\n") == 1


def test_a_name_is_checked_when_it_is_given_to_a_daemon():
    from daemonry import Daemon

    with pytest.raises(TargetInvalid, match="slash"):
        Daemon("a/b")


def test_a_program_whose_main_is_not_guarded_is_told_so(sandbox):
    path = sandbox.write("bare.py", "from daemonry import Daemon\ndaemon = Daemon('bare')\ndaemon.main()\n")
    told = (
        "'bare' names no daemon: main() is called when the program is imported: "
        'put `if __name__ == "__main__":` above it'
    )
    assert sandbox.daemonry("status", str(path)) == (2, "", f"{told}\n")
    done = sandbox.run(sys.executable, path, "start")
    assert (done.code, done.out, done.err) == (1, "", f"bare: start failed (import): {told}\n")


def test_an_error_about_the_target_is_json_where_json_was_asked_for(sandbox):
    done = sandbox.daemonry("status", "nosuch.py", "--json")
    assert done.code == 2
    assert json.loads(done.out) == {
        "ok": False,
        "error": "'nosuch.py' names no daemon: there is no such file",
        "kind": "TargetInvalid",
        "exit_code": 2,
    }


CHOSEN = """\
import os
from daemonry import Daemon, Place, Versions

daemon = Daemon("chosen", place=lambda: Place.in_directory(os.environ["CHOSEN_AT"], "chosen"))
beside = Daemon("apart", version="1.2", versions=Versions.side_by_side())
"""


def test_the_name_that_ps_shows_means_one_that_is_not_at_the_usual_place(sandbox):
    """Its program chose its place, or it runs beside other versions: `stop` said "not running"."""
    program = sandbox.write("chosen.py", CHOSEN)
    sandbox.env["CHOSEN_AT"] = str(sandbox.path / "a")
    assert sandbox.daemonry("start", f"{program}:daemon").code == 0
    assert sandbox.daemonry("start", f"{program}:beside").code == 0
    for name in ("chosen", "apart-1.2"):
        assert name in sandbox.daemonry("ps").out
        assert sandbox.daemonry("status", name).out.startswith(f"{name}: running\n")
        upgraded = sandbox.daemonry("upgrade", name)
        assert upgraded.out.startswith(f"{name}: upgraded at "), upgraded
        assert sandbox.daemonry("stop", name).out == f"{name}: stopped\n"
    assert sandbox.daemonry("ps").out == "no daemons\n"


def test_a_name_that_two_daemons_have_is_refused_and_none_is_stopped(sandbox):
    program = sandbox.write("chosen.py", CHOSEN)
    places = [str(sandbox.path / letter) for letter in "ab"]
    for place in places:
        sandbox.env["CHOSEN_AT"] = place
        assert sandbox.daemonry("start", f"{program}:daemon").code == 0
    refused = sandbox.daemonry("stop", "chosen")
    assert refused.code == 2
    assert all(f"{place}/chosen.sock" in refused.err for place in places)
    assert sandbox.daemonry("stop", f"unix:{places[0]}/chosen.sock").code == 0
    wait_until(lambda: sandbox.daemonry("ps").out.count("running") == 1)
    assert sandbox.daemonry("stop", "chosen").out == "chosen: stopped\n"
