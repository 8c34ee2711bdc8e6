"""What a daemon takes of its starter's environment, and that `status` tells where a caller's differs."""

import json
from pathlib import Path

import pytest

import daemonry
from daemonry.process import environment
from daemonry.process.environment import chosen, patterns_of

PROGRAM = """
from daemonry import Interface
class Who(Interface, name="org.example.who"):
    def environ(self) -> dict[str, str]:
        return dict(os.environ)
    def directory(self) -> str:
        return os.getcwd()
daemon.serve(Who())
"""


def environ(instance):
    with daemonry.Client.connect(instance.endpoint()) as client:
        return client.call("org.example.who.Environ")["result"]


def test_a_daemon_takes_what_is_declared_and_nothing_else(probe):
    given = {
        "PATH": probe.sandbox.env["PATH"],
        "LC_TIME": "C",
        "TZ": "UTC",
        "SECRET_TOKEN": "hunter2",
        "DISPLAY": ":0",
        "PROBE_COLOR": "green",
        "VX_HOME": "/vx",
        "VX_CASS": "/cass",
        "HTTPS_PROXY": "http://user:password@proxy",
    }
    probe.sandbox.env |= given
    found = environ(probe.start(PROGRAM, 'environment=("VX_*",)'))
    assert {name: found.get(name) for name in given} == {
        **given,
        "SECRET_TOKEN": None,
        "DISPLAY": None,
        "HTTPS_PROXY": None,
    }
    assert "DAEMONRY_BOOT" not in found


def test_a_star_takes_all(probe):
    probe.sandbox.env["SECRET_TOKEN"] = "hunter2"
    assert environ(probe.start(PROGRAM, 'environment=("*",)'))["SECRET_TOKEN"] == "hunter2"


def test_one_that_is_started_by_its_name_takes_the_same(probe):
    probe.sandbox.env["VX_HOME"] = "/vx"
    probe.start(PROGRAM, 'environment=("VX_HOME",)')
    probe.cli("stop")
    assert probe.cli("start").code == 0
    assert environ(probe.instance)["VX_HOME"] == "/vx"


def test_its_directory_pins_no_disk(probe):
    instance = probe.start(PROGRAM)
    with daemonry.Client.connect(instance.endpoint()) as client:
        assert client.call("org.example.who.Directory") == {"result": "/"}


def test_status_tells_what_differs_by_name_only(probe):
    probe.sandbox.env |= {"TZ": "UTC", "PROBE_KEY": "one"}
    probe.start(PROGRAM)
    assert "environment_differs" not in probe.cli("status", "--json").json()
    probe.sandbox.env |= {"TZ": "Europe/Berlin", "PROBE_KEY": "another", "OTHER": "x"}
    del probe.sandbox.env["PYTHONPATH" if "PYTHONPATH" in probe.sandbox.env else "OTHER"]
    status = probe.cli("status", "--json")
    assert set(status.json()["environment_differs"]) >= {"PROBE_KEY", "TZ"}
    assert "another" not in status.out
    assert "environment_differs" in probe.cli("status").out
    stored = Path(probe.place.environment_path).read_text(encoding="utf-8")
    assert "Berlin" not in stored
    assert '"one"' not in stored


def test_a_damaged_file_of_checksums_is_none(probe):
    probe.start(PROGRAM)
    with open(probe.place.environment_path, "w", encoding="utf-8") as file:
        file.write("{nonsense")
    probe.sandbox.env["TZ"] = "Europe/Berlin"
    status = probe.cli("status", "--json")
    assert status.code == 0
    assert "environment_differs" not in status.json()


def test_the_choice():
    environ = {"A": "1", "AB": "2", "B": "3", "LC_ALL": "C", "MY_APP_X": "4"}
    assert chosen(environ, ("A",)) == {"A": "1"}
    assert chosen(environ, ("A*", "B")) == {"A": "1", "AB": "2", "B": "3"}
    assert chosen(environ, ()) == {}
    assert chosen(environ, patterns_of("my-app", ())) == {"LC_ALL": "C", "MY_APP_X": "4"}


def test_a_call_carries_what_the_caller_picks(monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/ca.pem")
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    assert daemonry.pick_environment("SSL_CERT_FILE", "SSL_CERT_DIR") == {"SSL_CERT_FILE": "/ca.pem"}


@pytest.fixture
def sums(tmp_path, monkeypatch):
    """Where a daemon wrote its checksums, with the variables `PROBE_*` of this process."""
    path = tmp_path / "env.json"

    def write(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        environment.write_sums(str(path), ("PROBE_*",))
        return str(path)

    return write


@pytest.mark.parametrize("other", ["", "b", "aa", "A", "a" * 40, "\udcff"])
def test_a_value_is_told_from_another(sums, monkeypatch, other):
    path = sums(PROBE_A="a")
    assert environment.drift(path) == []
    monkeypatch.setenv("PROBE_A", other)
    assert environment.drift(path) == ["PROBE_A"]


def test_values_that_swap_parts_are_told_apart(sums, monkeypatch):
    path = sums(PROBE_A="/opt/x/bin:/usr/local/bin:/usr/bin:/bin")
    monkeypatch.setenv("PROBE_A", "/usr/local/bin:/opt/x/bin:/usr/bin:/bin")
    assert environment.drift(path) == ["PROBE_A"]


def test_a_short_value_is_not_its_own_checksum(sums):
    """A number of four digits would stand in the file as it is."""
    path = sums(PROBE_PIN="7")
    (number,) = json.loads(Path(path).read_text(encoding="utf-8"))["rests"].values()
    assert number != ord("7")
    assert 0 < number < 1 << 32


def test_one_that_an_older_daemon_wrote_is_not_known(sums, tmp_path):
    path = sums(PROBE_A="a")
    Path(path).write_text('{"patterns":["PROBE_*"],"sums":{"PROBE_A":1}}', encoding="utf-8")
    assert environment.drift(path) == []
