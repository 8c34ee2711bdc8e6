"""home.toml: what each key means, and that everything wrong is told before anything starts."""

import os
import signal

import pytest

from daemonry.errors import ConfigError
from daemonry.home.difference import compare
from daemonry.home.home_toml.home_file import load
from daemonry.home.policy import Policy, When
from daemonry.home.service import Kind, Orphan

ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": "/root", "SECRET": "x", "LANG": "C", "SSH": "y"}


@pytest.fixture
def read(tmp_path):
    def read(text):
        (tmp_path / "home.toml").write_text(text, newline="")
        return load(str(tmp_path), ENVIRONMENT)

    return read


def test_a_service_of_one_line_has_sensible_defaults(read, tmp_path):
    service = read('[services.a]\ncommand = "sleep 1"').services["a"]
    assert service.process.words[0].endswith("/sleep")
    assert service.process.words[1:] == ("1",)
    assert (service.process.directory, service.process.orphan) == (str(tmp_path), Orphan.END)
    assert (service.needs, service.ready.kind, service.hooks) == ((), Kind.STARTED, ())
    assert service.policy == Policy(When.ON_FAILURE, 0.2, 30.0, 5, 60.0)
    assert (service.stop_signals, service.stop_timeout_s) == ((signal.SIGTERM,), 10.0)
    assert service.socket_path == f"{tmp_path}/a.sock"


def test_every_key_is_taken(read, tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "below/run").write_text("#!/bin/sh\n")
    (tmp_path / "below/run").chmod(0o755)
    home = read("""
inherit = ["SSH"]
environment = { LEVEL = "1", ALL = "yes" }
log_bytes = 10000
[services.first]
command = ["sleep", "a b"]
[services.web-1]
command = "./run --x 'a b'"
directory = "below"
needs = ["first", "first"]
environment = { LEVEL = "2" }
ready = { http = "http://localhost:80/x?y", status = 404, timeout = "500ms" }
restart = "always"
restart_delay = 1
restart_delay_max = "1.5 m"
restarts_max = 0
restarts_within = "1h"
stop_signal = "sigint"
stop_timeout = 0.5
orphan = "adopt"
on_ready = "true"
on_fail = ["true", "x"]
on_stop = "true"
""")
    assert home.log_bytes == 10000
    service = home.services["web-1"]
    assert service.process.words == (f"{tmp_path}/below/run", "--x", "a b")
    assert service.needs == ("first",)
    assert (service.ready.kind, service.ready.status, service.ready.timeout_s) == (Kind.HTTP, 404, 0.5)
    assert service.policy == Policy(When.ALWAYS, 1.0, 90.0, 0, 3600.0)
    assert (service.stop_signals, service.stop_timeout_s) == ((signal.SIGINT,), 0.5)
    assert service.process.orphan is Orphan.ADOPT
    assert [at for at, _ in service.hooks] == ["ready", "fail", "stop"]
    assert service.hook("fail")[1:] == ("x",)
    given = dict(service.process.environment)
    assert (given["LEVEL"], given["ALL"], given["SSH"]) == ("2", "yes", "y")
    assert given["DAEMONRY_SOCKET_FIRST"] == f"{tmp_path}/first.sock"


def test_nothing_of_the_supervisors_environment_is_given_that_the_file_does_not_name(read, tmp_path):
    service = read('[services.a]\ncommand = "sleep 1"').services["a"]
    assert dict(service.process.environment) == {
        "PATH": ENVIRONMENT["PATH"],
        "HOME": "/root",
        "LANG": "C",
        "DAEMONRY_HOME": str(tmp_path),
        "DAEMONRY_SERVICE": "a",
        "DAEMONRY_SOCKET": f"{tmp_path}/a.sock",
    }


def test_values_of_variables_are_not_shown(read):
    """A value may be a secret, and a service may be shown in a traceback."""
    service = read('environment = { TOKEN = "hidden" }\n[services.a]\ncommand = "sleep 1"').services["a"]
    assert "hidden" not in repr(service)


A = '[services.a]\ncommand = "sleep 1"\n'


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ("", "services", "there are none"),
        ("x = 1", "x", "is not known"),
        ('[services.a]\ncomand = "x"', "services.a.comand", "did you mean 'command'?"),
        ("[services.a]", "services.a", "the key command is missing"),
        (A + A, "", "not TOML"),
        (
            '[services.a]\ncommand = "no-such-program"',
            "services.a.command",
            "'no-such-program' is in none of",
        ),
        ('[services.a]\ncommand = "./none"', "services.a.command", "there is no "),
        ('[services.a]\ncommand = "./home.toml"', "services.a.command", "is not executable: chmod +x it"),
        ('[services.a]\ncommand = ""', "services.a.command", "is empty"),
        ("[services.a]\ncommand = []", "services.a.command", "is empty"),
        ('[services.a]\ncommand = "sh \'x"', "services.a.command", "cannot be split"),
        ('[services.a]\ncommand = ["sh", "a\\u0000"]', "services.a.command", "NUL"),
        (A + 'on_fail = "none-such"', "services.a.on_fail", "'none-such' is in none of"),
        (
            A + 'needs = ["b"]\n[services.bb]\ncommand="sleep 1"',
            "services.a.needs[0]",
            "'b' is not a service",
        ),
        (A + 'needs = ["aa"]', "services.a.needs[0]", "did you mean 'a'?"),
        (A + 'needs = ["a"]', "services.a.needs", "a cycle: a -> a"),
        (
            A + 'needs = ["b"]\n[services.b]\ncommand = "true"\nneeds = ["a"]',
            "services.a.needs",
            "a cycle: a -> b -> a",
        ),
        (A + 'stop_timeout = "soon"', "services.a.stop_timeout", "'soon' is not a length of time: try 250ms"),
        (A + "stop_timeout = -1", "services.a.stop_timeout", "-1"),
        (A + "stop_timeout = true", "services.a.stop_timeout", "expected"),
        (A + "stop_timeout = nan", "services.a.stop_timeout", "not a length of time"),
        (A + 'restart = "sometimes"', "services.a.restart", "not one of always, on-failure, never"),
        (A + "restarts_max = -1", "services.a.restarts_max", "from 0"),
        (A + 'stop_signal = "KILL"', "services.a.stop_signal", "not one of TERM"),
        (A + 'orphan = "sell"', "services.a.orphan", "not one of end, adopt"),
        (A + 'directory = "none"', "services.a.directory", "is not a directory"),
        (
            A + "ready = { socket = true, notify = true }",
            "services.a.ready",
            "one way only: notify or socket",
        ),
        (A + "ready = { sockets = true }", "services.a.ready.sockets", "did you mean 'socket'?"),
        (A + 'ready = { socket = "tcp:x" }', "services.a.ready.socket", "is not an endpoint"),
        (A + 'ready = { http = "https://x/" }', "services.a.ready.http", "neither http://"),
        (A + 'ready = { http = "http://x:99999/" }', "services.a.ready.http", "neither http://"),
        (A + 'ready = { http = "/", status = 99 }', "services.a.ready.status", "from 100"),
        (A + "ready = { status = 200 }", "services.a.ready.status", "is for http"),
        (A + 'ready = { output = "(" }', "services.a.ready.output", "not a regular expression"),
        (A + 'ready = { command = "none-such" }', "services.a.ready.command", "in none of"),
        (A + 'ready = { notify = true, timeout = "0s" }', "services.a.ready.timeout", "not a length of time"),
        (
            A + 'schedule = "abc"',
            "services.a.schedule",
            "expected a table with every, at, cron, as schedule = { every = ... }; got text",
        ),
        (A + 'cpu_max = "x"', "services.a.cpu_max", "expected `float`, got `str`"),
        (A + "alive = true", "services.a.alive", ", or a number or text; got true or false"),
        ("services = 3", "services", "expected a table; got a whole number"),
        (A + 'environment = { "A=B" = "x" }', 'services.a.environment."A=B"', "no such variable"),
        ("log_bytes = 1\n" + A, "log_bytes", "less than"),
        ('[services.home]\ncommand = "true"', "services.home", "for the supervisor's own files"),
        ('[services."a/b"]\ncommand = "true"', 'services."a/b"', "a name is of letters"),
        ('[services."a.b"]\ncommand = "true"', 'services."a.b"', "a name is of letters"),
        (A + '[services.A]\ncommand = "true"', "services.A", "too much like 'a'"),
    ],
)
def test_what_is_wrong_is_told_with_its_key(read, tmp_path, text, key, reason):
    with pytest.raises(ConfigError) as raised:
        read(text)
    assert raised.value.key == key
    assert reason in raised.value.reason
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(f"{tmp_path}/home.toml:")


NOT_KEYS = """\
# [services.a]
inherit = ["é", '''
[services.a]
command = "text"
needs = ["x"]''']
"""


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('[services.a]\n# command = "x"\ncommand = "no-such-program"', "8:1"),
        (A + '# needs = ["b"]\n\tneeds = [ "a",\n\t\t"b" ]', "10:3"),
        (A + "restart = 'no' # restart", "8:1"),
        (A + "ready = { output = 'é', timeout = 'soon' }", "8:25"),
        (A + "[services . a . 'environment']\n\t'é=' = 'x'", "9:2"),
        (A + "[services]\n b = { command = 'sh', on_fail = 'none-such' }", "9:24"),
        (A + "[services.b]", "8:11"),
        (A + "stop_timeout = '''\n", "9:1"),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_the_place_is_that_of_the_key_and_of_no_text_like_it(read, tmp_path, text, place, line_end):
    with pytest.raises(ConfigError) as raised:
        read((NOT_KEYS + text).replace("\n", line_end))
    assert str(raised.value).startswith(f"{tmp_path}/home.toml:{place}: ")


def test_a_home_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        load(str(tmp_path))
    with pytest.raises(ConfigError, match="no such directory"):
        load(str(tmp_path / "none"))


def test_a_change_restarts_only_what_its_process_was_given(read):
    """Policy, hooks, needs, readiness and timeouts are used later; the process need not know."""
    before = read(A + '[services.b]\ncommand = "true"\n[services.c]\ncommand = "true"\n').services
    text = A.replace("sleep 1", "sleep 2") + '[services.b]\ncommand = "true"\nstop_timeout = 3\n'
    text += '[services.d]\ncommand = "true"\n'
    found = compare(before, read(text).services)
    assert found == (["d"], ["c"], ["a"], ["b"])
    assert str(found) == "added d; removed c; restarted a; adjusted b"
    assert str(compare(before, before)) == "nothing changed"


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ('environment = { X = "1" }', "restarted"),
        ('directory = "/"', "restarted"),
        ('orphan = "adopt"', "restarted"),
        ("ready = { notify = true }", "restarted"),
        ("ready = { socket = true }", "adjusted"),
        ('restart = "never"', "adjusted"),
        ('on_stop = "true"', "adjusted"),
        ('stop_signal = "INT"', "adjusted"),
    ],
)
def test_each_key_by_what_its_change_does(read, more, kind):
    found = compare(read(A).services, read(A + more).services)
    assert getattr(found, kind) == ["a"]
    assert sum(map(len, found)) == 1
