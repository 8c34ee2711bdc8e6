"""The line of a thread that its author knows."""

import threading

from daemonry.service.server.code_position import frame_of, where


def test_where_a_thread_is_names_the_users_own_line():
    """Not the library's that called it, nor the standard library's that it called."""

    def users_function():
        return frame_of(threading.get_ident())

    assert where(users_function()).startswith("test_code_position.py:")
    assert where(users_function()).endswith("in users_function")
    assert where(None) == "an unknown place"
    assert frame_of(None) is None
    assert frame_of(-1) is None


def test_where_only_the_library_is_running_its_innermost_line_is_named():
    frame = frame_of(threading.get_ident())
    while frame.f_back is not None:
        frame = frame.f_back
    assert where(frame).endswith(f"in {frame.f_code.co_name}")
