"""The messages between starter, zygote and child: what is not exactly one is none."""

import pytest

from daemonry.launch.zygote import messages
from daemonry.launch.zygote.messages import Order


def test_an_order_is_read_as_it_was_made():
    order = Order(("python", "-m", "daemonry", "run", "é\udcff:d"), '{"lock_fd": 5}', (7, 5))
    assert Order.of(order.encoded()) == order


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"argv": "run", "boot": "", "numbers": []}',
        b'{"argv": ["python"], "boot": "", "numbers": []}',
        b'{"argv": ["python", 1], "boot": "", "numbers": []}',
        b'{"argv": ["python", "x"], "boot": {}, "numbers": []}',
        b'{"argv": ["python", "x"], "boot": "", "numbers": [2]}',
        b'{"argv": ["python", "x"], "boot": "", "numbers": [5, 5]}',
        b'{"argv": ["python", "x"], "boot": "", "numbers": [true]}',
        b'{"argv": ["python", "x"], "boot": ""}',
    ],
)
def test_everything_else_is_no_order(message):
    assert Order.of(message) is None


@pytest.mark.parametrize(
    ("message", "pid"),
    [
        (messages.child(77), 77),
        (messages.no("other surroundings"), None),
        (b"", None),
        (b"77", None),
        (b"pid 1", None),
        (b"pid -5", None),
        (b"pid 77 ", None),
        (b"pid 99999999999", None),
    ],
)
def test_the_number_of_a_child(message, pid):
    assert messages.pid_of(message) == pid


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (messages.status(0), 0),
        (messages.status(-9), -9),
        (b"", None),
        (b"7", None),
        (b"x\n", None),
        (b"--7\n", None),
        (b"99999999999\n", None),
    ],
)
def test_the_exit_code(told, code):
    assert messages.code_of(told) == code
