"""Waiting for a descriptor, with `poll` and where a library has taken it away."""

import os
import select

import pytest

from daemonry.process.selector import wait_readable


@pytest.fixture(params=["poll", "select"])
def pipe(request, monkeypatch):
    if request.param == "select":
        monkeypatch.delattr(select, "poll")
    read_fd, write_fd = os.pipe()
    yield read_fd, write_fd
    os.close(read_fd)


def test_it_waits_for_data_and_for_the_end_and_not_beyond_the_time(pipe):
    read_fd, write_fd = pipe
    assert not wait_readable(read_fd, 0)
    assert not wait_readable(read_fd, 0.001)
    os.write(write_fd, b"x")
    assert wait_readable(read_fd, 10)
    assert wait_readable(read_fd, None)
    os.read(read_fd, 1)
    os.close(write_fd)
    assert wait_readable(read_fd, None)
