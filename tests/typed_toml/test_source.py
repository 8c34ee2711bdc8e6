"""What a configuration file's errors say: the place, the key, the reason, in one printable line."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemonry.errors import ConfigError
from daemonry.limits import MAX_CONFIG_BYTES, MAX_TOML_DEPTH, MAX_TOML_KEY_CHARS
from daemonry.terminal_text import printable
from daemonry.typed_toml import decode, error_in, parse, read


def told(text):
    with pytest.raises(ConfigError) as raised:
        parse(text, "F")
    return str(raised.value)


def test_an_error_has_its_place_as_fields_too():
    error = parse('a = 1\r\n"é" = { b = 2 }', "F").error(("é", "b"), "is bad")
    assert (error.path, error.line, error.column, error.key) == ("F", 2, 9, '"é".b')
    assert str(error) == 'F:2:9: "é".b: is bad'


def test_a_key_that_is_not_there_is_told_at_the_table_that_lacks_it():
    source = parse("x = 1\n[a]\nb = 1", "F")
    assert str(source.error(("a", "name"), "is missing")) == "F:2:2: a.name: is missing"
    assert str(source.error(("name",), "is missing")) == "F: name: is missing"
    assert str(source.error((), "is empty")) == "F: is empty"


def test_an_unknown_key_names_the_nearest_or_all():
    source = parse("[a]\nNmae = 1\nx = 2", "F")
    assert str(source.unknown(("a", "Nmae"), ("name", "url"))) == (
        "F:2:1: a.Nmae: is not known: did you mean 'name'?"
    )
    with pytest.raises(ConfigError, match=r"^F:3:1: a\.x: is not known: known are Nmae, url$"):
        source.refuse_unknown(source.values["a"], ("Nmae", "url"), ("a",))
    source.refuse_unknown(source.values["a"], ("Nmae", "x"), ("a",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = 1\nb = ?", "F:2:5: not TOML: invalid value"),
        ("a = 1\r\n\tb = [1,", "F:2:9: not TOML: "),
        ('a = "', "F:1:6: not TOML: unterminated string"),
        ("[a]\n[a]", "F:2:3: not TOML: cannot declare ('a',) twice"),
        ("a = 1\nb = " + "9" * 5000, "F:2:5: not TOML: Exceeds the limit (4300"),
        ("a = 1\nb = " + "[" * 5000, f"F:2:{5 + MAX_TOML_DEPTH}: nested deeper than 64 levels"),
        ("a = 1\n  " + "b." * 300_000 + "b = 1", "F:2:3: nested deeper than 64 levels"),
        ("a = [\n" + "{b=" * 80 + "1" + "}" * 80 + "]", "F:2:188: nested deeper than 64 levels"),
        ("a = 1\n" + "[[b]]\n" * 3 + "b" * 1025 + " = 1", "F:5:1: a key is longer than 1024 characters"),
        (b"a = 1\n\xc3\xa9\xff", "F:2:2: is not UTF-8"),
        (b" " * (MAX_CONFIG_BYTES + 1), f"F: longer than {MAX_CONFIG_BYTES} bytes"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text, said):
    assert told(text).startswith(said)


def test_many_dots_in_a_value_are_no_deep_key():
    text = "x." * 1000
    assert parse(f'a = "{text}" # {text}', "F").values == {"a": text}


def test_the_bounds_themselves_are_within():
    deep = "[" * (MAX_TOML_DEPTH - 1) + "1" + "]" * (MAX_TOML_DEPTH - 1)
    key = "b" * MAX_TOML_KEY_CHARS
    assert set(parse(f"a = {deep}\n{key} = 1", "F").values) == {"a", key}


def test_the_mark_that_some_editors_put_first_is_no_part_of_the_text():
    source = parse(b"\xef\xbb\xbfa = 1", "F")
    assert source.values == {"a": 1}
    assert str(source.error(("a",), "x")) == "F:1:1: a: x"
    assert told(b"\xef\xbb\xbf\xff") == "F:1:1: is not UTF-8"


@settings(database=None)
@given(st.lists(st.text(), min_size=1, max_size=3), st.text())
def test_an_error_is_one_printable_line_whatever_is_in_it(keys, reason):
    told = str(parse("", "F").error(tuple(keys), reason))
    assert printable(told) == told


def test_a_long_reason_is_cut():
    assert len(str(parse("", "F").error((), "x" * 100_000))) < 1100
    assert len(told(f"{'a' * 100_000} = 1\n" * 2)) < 1100


def test_a_file_may_have_to_be_there(tmp_path):
    path = str(tmp_path / "c.toml")
    assert read(path, must_exist=False).values == {}
    with pytest.raises(ConfigError, match="there is no such file"):
        read(path)


def test_a_check_that_comes_later_finds_the_place_in_the_file_as_it_is(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("# b = 1\n[a]\nb = 1")
    assert str(error_in(str(path), ("a", "b"), "is bad")) == f"{path}:3:1: a.b: is bad"
    path.write_text("= no TOML any more")
    assert str(error_in(str(path), ("a", "b"), "is bad")) == f"{path}: a.b: is bad"
    path.unlink()
    assert str(error_in(str(path), ("a", "b"), "is bad")) == f"{path}: a.b: is bad"


def test_the_limit_may_be_another():
    assert decode(b"x" * 10, "F", 10) == "x" * 10
    with pytest.raises(ConfigError, match=r"^F: longer than 9 bytes$"):
        decode(b"x" * 10, "F", 9)


def test_a_program_that_reads_tables_itself_loads_no_msgspec_and_searches_no_place():
    """What costs is paid for types, and where there is an error."""
    script = (
        "import sys; from daemonry.typed_toml import parse, positions\n"
        "def fail(*_): raise AssertionError\n"
        "positions.entries = positions.find = fail\n"
        "print(parse('a = 1', 'F').values, 'msgspec' in sys.modules, 'difflib' in sys.modules)"
    )
    shown = subprocess.check_output([sys.executable, "-c", script], text=True)
    assert shown == "{'a': 1} False False\n"
