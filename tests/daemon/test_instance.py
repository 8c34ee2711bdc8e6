"""A daemon seen from outside, without one: how it is called."""

import pytest

from daemonry import Daemon, Endpoint, Instance


@pytest.mark.parametrize(
    ("instance", "shown"),
    [
        (Instance.of(Daemon("probe").place()), "<Instance probe>"),
        (Instance(None, Endpoint.parse("tcp:127.0.0.1:7654;token=/t")), "<Instance tcp:127.0.0.1:7654>"),
    ],
)
def test_it_says_which_daemon_it_is_without_the_place_of_a_token(instance, shown):
    assert repr(instance) == shown
