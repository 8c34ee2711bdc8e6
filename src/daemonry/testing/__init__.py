"""A test kit for programs built on daemonry; needs no test framework.

    Sandbox                 a private home and runtime directory, with everything that runs there
    wait_until              waits for a condition, with a deadline; never a fixed sleep
    Leftovers, leftovers_in what a test left behind: sockets, held locks, processes

    get_test_socket_path, get_test_socket_path_with_suffix, cleanup_socket_file,
    cleanup_all_test_sockets
                            unique socket paths in the temporary directory, and their removal

The pytest fixtures in `daemonry.pytest_plugin` are thin wrappers over these.
"""

from __future__ import annotations

from daemonry.testing.leftovers import Leftovers, leftovers_in
from daemonry.testing.sandbox import Completed, Sandbox
from daemonry.testing.sockets import (
    cleanup_all_test_sockets,
    cleanup_socket_file,
    get_test_socket_path,
    get_test_socket_path_with_suffix,
)
from daemonry.testing.waiting import wait_until

__all__ = [
    "Completed",
    "Leftovers",
    "Sandbox",
    "cleanup_all_test_sockets",
    "cleanup_socket_file",
    "get_test_socket_path",
    "get_test_socket_path_with_suffix",
    "leftovers_in",
    "wait_until",
]
