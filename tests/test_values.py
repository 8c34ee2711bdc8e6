"""Small frozen values: what they compare by, and that they stay what they are."""

import copy
import pickle

import pytest

from daemonry.values import Value


class Point(Value):
    __slots__ = ("x", "y")

    def __init__(self, x, y):
        self._set(x=x, y=y)


class Pair(Value):
    __slots__ = ("x", "y")

    def __init__(self, x, y):
        self._set(x=x, y=y)


def test_values_with_equal_fields_are_equal():
    assert Point(1, "a") == Point(1, "a")
    assert Point(1, "a") != Point(2, "a")
    assert len({Point(1, "a"), Point(1, "a"), Point(2, "a")}) == 2


def test_values_of_two_classes_are_never_equal():
    assert Point(1, 2) != Pair(1, 2)
    assert Point(1, 2) != (1, 2)
    assert hash(Point(1, 2)) != hash(Pair(1, 2))


def test_a_value_cannot_be_changed():
    point = Point(1, 2)
    with pytest.raises(AttributeError, match="Point is frozen: cannot set 'x'"):
        point.x = 3
    with pytest.raises(AttributeError, match="Point is frozen: cannot delete 'x'"):
        del point.x
    with pytest.raises(AttributeError, match="frozen"):
        point.z = 3
    assert point == Point(1, 2)


def test_a_value_shows_its_fields():
    assert repr(Point(1, "a")) == "Point(x=1, y='a')"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_value_survives_pickling(protocol):
    assert pickle.loads(pickle.dumps(Point(1, [2]), protocol)) == Point(1, [2])
    assert copy.deepcopy(Point(1, [2])) == Point(1, [2])
