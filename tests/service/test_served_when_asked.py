"""Interfaces of ours that are worked out when their first call comes: nobody can tell the difference."""

from __future__ import annotations

import pytest

from daemonry import Interface
from daemonry.errors import InterfaceNotFound, MethodNotFound
from daemonry.http.page_address import HttpControl
from daemonry.runtime.debugging.interface import Debug
from daemonry.runtime.handover import HandOver
from daemonry.service.interface.declare import described
from daemonry.service.server.builtin import Control, VarlinkService
from daemonry.service.server.dispatch import Calls
from daemonry.wire.varlink import Call


class Adder(Interface, name="org.example.adder"):
    """Adds."""

    def add(self, first: int, second: int) -> int:
        """Return the sum."""
        return first + second


FRAME = b'{"method":"org.example.adder.Add","parameters":{"first":1,"second":2}}\0'
NAME = "org.example.adder"


@pytest.fixture
def calls():
    calls = Calls()
    calls.serve_when_asked(Adder())
    return calls


def test_nothing_is_worked_out_before_somebody_asks(calls):
    assert calls.names == [NAME]
    assert calls.answer_in_python(FRAME) is None


def test_its_first_call_is_found_and_the_next_is_answered_at_once(calls):
    assert calls.find(Call(f"{NAME}.Add", {})).full_name == f"{NAME}.Add"
    assert calls.answer_in_python(FRAME) == b'{"parameters":{"result":3}}\0'


def test_it_is_described_as_one_that_is_served_now(calls):
    served_now = Calls()
    served_now.serve(Adder())
    assert calls.interface(NAME) is served_now.interface(NAME)
    assert calls.interfaces == served_now.interfaces
    assert calls.interface("org.example.other") is None


def test_a_method_that_it_does_not_have_is_not_found_with_what_is_near(calls):
    with pytest.raises(MethodNotFound) as raised:
        calls.find(Call(f"{NAME}.Ad", {}))
    assert raised.value.parameters == {"method": "Ad", "nearest": "Add"}


def test_another_interface_is_not_found_with_what_is_near(calls):
    with pytest.raises(InterfaceNotFound) as raised:
        calls.find(Call("org.example.addr.Add", {}))
    assert raised.value.parameters == {"interface": "org.example.addr", "nearest": NAME}


def test_it_is_served_once(calls):
    for serve in (calls.serve, calls.serve_when_asked):
        with pytest.raises(ValueError, match="served already"):
            serve(Adder())


@pytest.mark.parametrize("kind", [VarlinkService, Control, HandOver, Debug, HttpControl])
def test_none_of_ours_takes_descriptors(kind):
    """Whether any method does is decided when a connection is accepted, before anything is asked."""
    assert not any(method.takes_fds for method in described(kind).methods.values())
