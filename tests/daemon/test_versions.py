"""Which version is taken, which replaced, which refused; and that no two programs fight over a daemon."""

import itertools
import sys

import pytest

import daemonry
from daemonry import errors
from daemonry.daemon.versions import Versions, is_older, judge

OLDEST_FIRST = [
    "1.0.dev1",
    "1.0a1",
    "1.0a2",
    "1.0b1",
    "1.0rc1",
    "1.0",
    "1.0.post1",
    "1.0.1",
    "1.2",
    "1.10",
    "2",
]


@pytest.mark.parametrize(("older", "newer"), list(itertools.combinations(OLDEST_FIRST, 2)))
def test_versions_have_their_order(older, newer):
    assert is_older(older, newer)
    assert not is_older(newer, older)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1.2", "1.2.0"),
        ("v1.2", "1.2"),
        ("1.2+local", "1.2"),
        ("1.2", "1.2"),
        ("abc", "1.0"),
        ("1.0", ""),
        ("", ""),
    ],
)
def test_some_are_neither_older_nor_newer(one, other):
    assert not is_older(one, other)
    assert not is_older(other, one)


def test_a_version_that_nobody_meant_is_no_trouble():
    assert is_older("1", "9" * 500)
    assert not is_older("\x00" * 50, "1.0")


RANGE = Versions.compatible("1.2", "2.0")


@pytest.mark.parametrize(
    ("policy", "running", "wanted", "action"),
    [
        (Versions.any(), "1.0", "2.0", "connect"),
        (Versions.exact(), "1.0", "1.0", "connect"),
        (Versions.exact(), "1.0", "2.0", "replace"),
        (Versions.exact(), "2.0", "1.0", "replace"),
        (Versions.newer_wins(), "1.0", "2.0", "replace"),
        (Versions.newer_wins(), "2.0", "1.0", "connect"),
        (Versions.newer_wins(), "git-abc", "git-def", "connect"),
        (RANGE, "1.2", "1.5", "connect"),
        (RANGE, "1.9", "1.5", "connect"),
        (RANGE, "1.1", "1.5", "replace"),
        (RANGE, "2.0", "1.5", "refuse"),
        (RANGE, "1.1", "1.0", "refuse"),
        (Versions.side_by_side(), "1.0", "2.0", "connect"),
    ],
)
def test_a_policy_decides(policy, running, wanted, action):
    verdict = judge(policy, running, wanted)
    assert verdict.action == action
    assert bool(verdict.reason) == (action != "connect")


@pytest.mark.parametrize("policy", [Versions.exact(), Versions.newer_wins(), RANGE])
def test_a_reconnect_never_replaces(policy):
    for running, wanted in itertools.product(OLDEST_FIRST, repeat=2):
        assert judge(policy, running, wanted, reconnecting=True).action != "replace"


def test_newer_wins_comes_to_rest_whatever_programs_there_are():
    running = "1.2"
    for wanted in [*OLDEST_FIRST, *OLDEST_FIRST]:
        if judge(Versions.newer_wins(), running, wanted).action == "replace":
            assert is_older(running, wanted)
            running = wanted
    assert running == "2"


# --- for real ---------------------------------------------------------------------------------------

PROGRAM = """
from daemonry import Daemon, Interface, Versions
class Who(Interface, name="org.example.who"):
    def version(self) -> str:
        return daemon.version
daemon = Daemon("probe", version={version!r}, versions=Versions.{policy})
daemon.serve(Who())
"""
ASK = """
import sys, daemonry
from probe import daemon
def tell(stage):
    print(stage, file=sys.stderr)
with daemonry.ensure(daemon, on_stage=tell, **eval(sys.argv[1])) as client:
    print(client.call("org.example.who.Version")["result"])
"""


def program(probe, version, policy):
    """A release of the probe, in a directory of its own."""
    path = probe.sandbox.write(f"v{version}/probe.py", PROGRAM.format(version=version, policy=policy))

    def ask(options="{}"):
        script = f"import sys; sys.path.insert(0, {str(path.parent)!r})\n{ASK}"
        return probe.sandbox.run(sys.executable, "-c", script, options)

    return ask


def test_an_older_daemon_is_replaced_with_the_reason_told_and_a_newer_one_taken(probe):
    old, new = program(probe, "1.0", "newer_wins()"), program(probe, "1.1", "newer_wins()")
    assert old().out == "1.0\n"
    replaced = new()
    assert replaced.out == "1.1\n"
    assert "replace: 1.0 runs, and 1.1 is newer" in replaced.err.splitlines()
    assert probe.logged("taken over from pid")
    pid = probe.instance.pid()
    assert old() == (0, "1.1\n", "")
    assert probe.instance.pid() == pid


def test_a_range_refuses_in_one_line_what_it_must_not_replace(probe):
    assert program(probe, "2.0", "any()")().out == "2.0\n"
    refused = program(probe, "1.5", "compatible('1.2', '2.0')")()
    assert refused.code == 1
    assert refused.err.endswith("VersionMismatch: probe: 2.0 runs, and one below 2.0 is needed\n")
    assert probe.instance.status()["version"] == "2.0"


@pytest.mark.parametrize("by", ["name", "program"])
def test_a_callers_own_range_counts_whatever_it_would_start(probe, by):
    """By a name it would start nothing of its own, and by this program the very version that runs."""
    ask = program(probe, "1.0", "any()")
    assert ask().out == "1.0\n"

    def version(policy):
        if by == "program":
            return ask(f"dict(versions=daemonry.Versions.{policy})")
        asked = f"daemonry.ensure('probe', versions=daemonry.Versions.{policy})"
        told = f"print({asked}.call('org.example.who.Version')['result'])"
        return probe.sandbox.run(sys.executable, "-c", f"import daemonry; {told}")

    for policy in ("compatible('1.0', '2.0')", "exact()", "newer_wins()", "any()"):
        assert version(policy) == (0, "1.0\n", "")
    refused = version("compatible('1.2', '2.0')")
    assert refused.code == 1
    assert refused.err.endswith("VersionMismatch: probe: 1.0 runs, and 1.2 or newer is needed\n")


@pytest.mark.parametrize("mode", ["require", "supervised"])
def test_who_starts_nothing_replaces_nothing(probe, mode):
    assert program(probe, "1.0", "exact()")().out == "1.0\n"
    refused = program(probe, "1.1", "exact()")(f"dict(mode={mode!r})")
    assert refused.code == 1
    assert "VersionMismatch: probe: 1.0 runs, and 1.1 is wanted" in refused.err
    assert probe.instance.status()["version"] == "1.0"


def test_side_by_side_each_version_is_a_daemon_of_its_own(probe):
    one, other = program(probe, "1.0", "side_by_side()"), program(probe, "1.1", "side_by_side()")
    assert (one().out, other().out, one().out) == ("1.0\n", "1.1\n", "1.0\n")
    names = probe.sandbox.daemonry("ps", "--names").out.split()
    assert sorted(names) == ["probe-1.0", "probe-1.1"]
    for version in ("1.0", "1.1"):
        path = probe.sandbox.path / f"v{version}/probe.py"
        assert probe.sandbox.daemonry("stop", path).code == 0


def test_in_one_process_a_second_ensure_is_a_reconnect(probe, monkeypatch):
    monkeypatch.syspath_prepend(str(probe.sandbox.path / "v1.1"))
    monkeypatch.delitem(sys.modules, "probe", raising=False)
    old = program(probe, "1.0", "exact()")
    program(probe, "1.1", "exact()")
    import probe as release

    with daemonry.ensure(release.daemon) as client:
        assert client.call("org.example.who.Version") == {"result": "1.1"}
    assert old().out == "1.0\n"  # another program wants another version, and it is exact
    with pytest.raises(errors.VersionMismatch, match="a reconnect replaces none"):
        daemonry.ensure(release.daemon)
    sys.modules.pop("probe")
