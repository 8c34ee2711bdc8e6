"""A service that hangs once it is ready: noticed, shown, and restarted by its policy."""

import os
import signal
import sys

import pytest

from daemonry.testing import wait_until

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="homes need Linux")

# Each works until the file `hang` is there.
SERVES = r"""
import os, socket, time
listening = socket.socket(socket.AF_UNIX)
listening.bind(os.environ["DAEMONRY_SOCKET"])
listening.listen()
while True:
    connection, _ = listening.accept()
    while os.path.exists("hang"):
        time.sleep(0.01)
    try:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
    except OSError:
        pass
    connection.close()
"""
NOTIFIES = r"""
import os, socket, time
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.connect("\0" + os.environ["NOTIFY_SOCKET"][1:])
sock.send(b"READY=1")
while True:
    if not os.path.exists("hang"):
        sock.send(b"WATCHDOG=1")
    time.sleep(float(os.environ["WATCHDOG_USEC"]) / 5e6)
"""
QUICK = 'every = "100ms", timeout = "300ms", failures = 2'


def sh(text):
    return ["sh", "-c", text]


def message():
    say = "printf '{\"%s\": {}}\\n' >/dev/fd/$DAEMONRY_READY_FD"
    loop = f"while :; do [ -e hang ] || {say % 'alive'}; sleep 0.02; done"
    return sh(f"{say % 'ready'}; {loop}"), "{ message = true }", f"{{ message = true, {QUICK} }}"


def notify():
    return [sys.executable, "-c", NOTIFIES], "{ notify = true }", f"{{ notify = true, {QUICK} }}"


def http():
    return [sys.executable, "-c", SERVES], '{ http = "/" }', f"{{ {QUICK} }}"


def command():
    look = '["test", "!", "-e", "hang"]'
    return sh("exec sleep 600"), f"{{ command = {look} }}", f"{{ command = {look}, {QUICK} }}"


def output():
    loop = "while :; do [ -e hang ] || echo beat; sleep 0.02; done"
    return sh(loop), '{ output = "beat" }', f'{{ output = "beat", {QUICK} }}'


@pytest.mark.parametrize("kind", [message, notify, http, command, output], ids=lambda kind: kind.__name__)
def test_one_that_hangs_is_restarted_and_the_reason_is_shown(shop, service, kind):
    words, ready, alive = kind()
    shop.write(service("a", words, ready=ready, alive=alive, restart_delay='"10ms"', restarts_max="1000"))
    shop.up()
    first = shop.pid("a")
    (shop.path / "hang").touch()
    shop.wait_event("a", "not alive (1 of 2)")
    assert "; ending it" in shop.wait_event("a", "not alive: ")[0]
    (shop.path / "hang").unlink()
    wait_until(lambda: shop.ps()["a"]["state"] == "ready" and shop.pid("a") != first, what="it runs again")
    assert shop.ps()["a"]["restarts"] >= 1


def test_one_that_stays_alive_is_left_alone(shop, service):
    words, ready, alive = output()
    shop.write(service("a", words, ready=ready, alive=alive))
    shop.up()
    pid = shop.pid("a")
    wait_until(lambda: len(shop.written("a")) > 40, what="some looks have passed")
    assert (shop.pid("a"), shop.ps()["a"]["restarts"]) == (pid, 0)


def test_one_that_was_stopped_by_a_signal_is_unhealthy_until_it_goes_on(shop, service):
    """Without `alive` it is shown at once, and not touched."""
    shop.write(service("a"))
    shop.up()
    pid = shop.pid("a")
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: shop.ps()["a"]["state"] == "unhealthy", what="it is noticed")
    assert "stopped by a signal" in shop.ps()["a"]["note"]
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: shop.ps()["a"]["state"] == "ready", what="it goes on")
    assert (shop.pid("a"), shop.ps()["a"]["note"]) == (pid, None)


def test_one_that_was_stopped_by_a_signal_is_restarted_where_it_is_looked_after(shop, service):
    """A socket alone would not show it: the kernel accepts for a stopped process too."""
    shop.write(service("a", alive='{ every = "50ms", failures = 2 }', restart_delay='"10ms"'))
    shop.up()
    pid = shop.pid("a")
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: shop.pid("a") not in (None, pid), what="it is another process")
    assert f"process {pid} is stopped by a signal" in shop.ps()["a"]["last_exit"]


def test_one_that_hangs_and_is_not_to_be_restarted_is_given_up(shop, service):
    shop.write(service("a", alive='"50ms"', restart='"never"'))
    shop.up()
    os.kill(shop.pid("a"), signal.SIGSTOP)
    wait_until(lambda: shop.ps()["a"]["state"] == "failed", what="it is given up")
    shop.wait_event("a", "given up: not alive")


def test_a_stopped_service_can_be_taken_down(shop, service):
    shop.write(service("a"))
    shop.up()
    os.kill(shop.pid("a"), signal.SIGSTOP)
    wait_until(lambda: shop.ps()["a"]["state"] == "unhealthy", what="it is noticed")
    shop.down()
    shop.wait_nothing()


def test_signals_that_ask_it_to_end_are_sent_one_after_the_other(shop, service):
    deaf = "trap 'echo int' INT; trap 'echo term; exit 0' TERM; echo here; while :; do sleep 0.01; done"
    ladder = {"stop_signal": '["INT", "TERM"]', "stop_timeout": '"200ms"'}
    shop.write(service("a", sh(deaf), ready='{ output = "here" }', **ladder))
    shop.up()
    shop.down()
    assert [line for line in shop.written("a") if line != "Terminated"] == ["here", "int", "term"]
