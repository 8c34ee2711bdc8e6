"""What a daemon serves: objects, and what makes them for each run."""

import asyncio
import functools

import pytest

from daemonry import Daemon, Interface
from daemonry.daemon.served import Services
from daemonry.service.interface.schema import NotDescribable


class Counter(Interface, name="org.example.counter"):
    """Counts."""

    def __init__(self, first: int = 0) -> None:
        self.count = first

    def next(self) -> int:
        """Return the next number."""
        self.count += 1
        return self.count


def make() -> Counter:
    return Counter(10)


@pytest.mark.parametrize(("maker", "first"), [(Counter, 0), (functools.partial(Counter, 5), 5), (make, 10)])
def test_each_run_has_an_implementation_of_its_own(maker, first):
    daemon = Daemon("probe")
    assert daemon.serve(maker) is maker
    one, other = Services(daemon.services), Services(daemon.services)
    assert one.get(Counter) is one.get(Counter)
    assert one.get(Counter) is not other.get(Counter)
    assert one.all() == [one.get(Counter)]
    assert one.get(Counter).count == first


def test_an_object_is_the_same_in_every_run():
    daemon = Daemon("probe")
    counter = daemon.serve(Counter())
    assert Services(daemon.services).get(Counter) is Services(daemon.services).get(Counter) is counter


def test_what_a_setup_hook_serves_belongs_to_its_run():
    daemon = Daemon("probe")
    services = Services(daemon.services)
    with services.setting_up():
        daemon.serve(Counter)
        with pytest.raises(ValueError, match="served already"):
            daemon.serve(Counter())
    assert len(services.all()) == 1
    assert daemon.services == []
    with pytest.raises(LookupError, match="Counter is not served"):
        Services(daemon.services).get(Counter)


def test_an_interface_is_served_once_in_whatever_form():
    daemon = Daemon("probe")
    daemon.serve(Counter)
    with pytest.raises(ValueError, match=r"org\.example\.counter is served already"):
        daemon.serve(Counter())


def unannotated():
    return Counter()


def coroutine_maker() -> int:
    return 1


@pytest.mark.parametrize("wrong", [3, int, unannotated, coroutine_maker, asyncio])
def test_what_makes_no_interface_is_refused_where_it_is_served(wrong):
    with pytest.raises(TypeError, match="can be served, and not"):
        Daemon("probe").serve(wrong)


def test_a_maker_that_needs_arguments_is_refused_with_its_place():
    class Needy(Interface, name="org.example.needy"):
        """Needs."""

        def __init__(self, store: str) -> None:
            self.store = store

    with pytest.raises(TypeError, match=r"test_served\.py:\d+: Needy is made .* 'store'"):
        Daemon("probe").serve(Needy)


def test_a_class_whose_method_cannot_be_described_is_refused_with_its_place():
    class Bad(Interface, name="org.example.bad"):
        """Is bad."""

        def all_of(self, *words: str) -> int:
            return len(words)

    with pytest.raises(NotDescribable, match=r"test_served\.py:\d+.*takes any number of arguments"):
        Daemon("probe").serve(Bad)
