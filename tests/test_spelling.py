"""The nearest of some names."""

from daemonry.spelling import did_you_mean, nearest


def test_the_nearest_name_is_found_in_any_case():
    assert nearest("NAEM", ["url", "name"]) == "name"
    assert nearest("name", ["NAME"]) == "NAME"
    assert nearest("xyz", ["url", "name"]) == ""
    assert nearest("abxy", ["abcd"], 0.5) == "abcd"
    assert nearest("abxy", ["abcd"]) == ""


def test_a_hint_names_the_nearest_or_all_or_none():
    assert did_you_mean("naem", ["url", "name"]) == "did you mean 'name'?"
    assert did_you_mean("xyz", ["url", "name"]) == "known are url, name"
    assert did_you_mean("xyz", [], "there are") == "there are none"


def test_long_names_are_not_compared():
    assert nearest("a" * 201, ["a" * 201]) == ""
    assert nearest("a" * 200, ["a" * 201, "a" * 199]) == "a" * 199
