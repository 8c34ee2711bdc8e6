"""A daemon that was stopped by SIGSTOP: there, silent, and never taken for gone (hard case 2, fault 10)."""

import re
import signal
import socket
import time

import pytest

from daemonry.errors import DeadlineExceeded
from daemonry.testing import wait_until


@pytest.fixture
def frozen(probe):
    """A daemon that was stopped; at the end it is continued, so that it can end."""
    instance = probe.start()
    process = instance.record().identity
    probe.signal(signal.SIGSTOP)
    wait_until(lambda: _state(process.pid) == "T", what="the daemon is stopped")
    yield instance
    record = instance.record()
    if record is None or record.identity == process:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        probe.wait_gone()


def _state(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


@pytest.mark.parametrize("verb", ["status", "ping", "pause", "resume", "reload"])
def test_a_command_ends_at_its_timeout_and_names_the_pid(frozen, probe, verb):
    before_s = time.monotonic()
    done = probe.cli(verb, "--timeout", "0.3")
    assert time.monotonic() - before_s < 4.0  # the default would be 5
    assert done == (5, "", f"no answer from probe (pid {frozen.pid()}) within 0.3 s (reply)\n")


def test_a_full_backlog_is_busy_and_not_absent(frozen, probe):
    """Hard case 11: connecting to it fails at once with EAGAIN, which looks like an error."""
    queued = []
    try:
        while True:
            client = socket.socket(socket.AF_UNIX)
            queued.append(client)
            client.setblocking(False)
            client.connect(probe.place.socket_path)
    except BlockingIOError:
        pass
    done = probe.cli("status", "--timeout", "0.2")
    assert done == (5, "", f"no answer from probe (pid {frozen.pid()}) within 0.2 s (connect)\n")
    liveness = frozen.liveness(0.1)
    assert (liveness.answer, liveness.evidence()) == ("busy", "the backlog is full; life lock held")
    for client in queued:
        client.close()


def test_it_is_busy_and_the_evidence_says_why(frozen):
    assert frozen.liveness(0.1).evidence() == "connected, but no answer in time; life lock held"
    with pytest.raises(DeadlineExceeded) as caught:
        frozen.status(0.1)
    assert caught.value.ran == "no"
    with pytest.raises(DeadlineExceeded) as caught:
        frozen.command("PAUSE", 0.1)
    assert caught.value.ran == "maybe"


def test_a_start_says_that_it_runs(frozen, probe):
    """Nothing is killed, and nothing replaced, for being slow."""
    assert probe.cli("start") == (0, f"probe: already running (pid {frozen.pid()})\n", "")


def test_a_stop_times_out_and_leaves_it_alone(frozen, probe):
    pid = frozen.pid()
    done = probe.cli("stop", "--timeout", "0.5")
    assert done == (5, "", f"no answer from probe (pid {pid}) within 0.5 s (reply)\n")
    assert frozen.record().identity.alive()


def test_a_stop_by_force_ends_it(frozen, probe):
    pid = frozen.pid()
    done = probe.cli("stop", "--timeout", "0.5", "--force")
    assert (done.code, done.out) == (0, "probe: stopped\n")
    assert re.fullmatch(rf"probe: the run of .* \(pid {pid}\) ended without cleaning up\n", done.err)
    assert frozen.lock_held() is False
    assert probe.cli("start").code == 0, "what the kill left behind is no obstacle"


def test_continued_it_takes_up_what_was_asked_meanwhile(frozen, probe):
    """A stop that timed out was not lost: it lies in the socket, and SIGTERM waits too."""
    assert probe.cli("stop", "--timeout", "0.3").code == 5
    frozen.record().identity.send_signal(signal.SIGCONT)
    probe.wait_gone()
    assert probe.left() == []


def test_continued_it_answers_as_if_nothing_had_been(frozen, probe):
    frozen.record().identity.send_signal(signal.SIGCONT)
    assert probe.cli("status").out.startswith("probe: running\n")
    assert not [entry for entry in probe.log() if entry["level"] in ("warning", "error")]
