"""Where a key is written: the place that is found is the place where the value changes."""

import tomllib
from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemonry.limits import MAX_TOML_DEPTH, MAX_TOML_KEY_CHARS
from daemonry.typed_toml.positions import BeyondBounds, Position, dotted, entries, find, position_of

# --- documents, in every form that TOML has for them ------------------------------------------------

NAMES = st.sampled_from(
    ["a", "b", "name", "servers", "x-1", "7", "a b", "a.b", "é", "", "=", "#", "[[b]]", "'", '"']
)
# Text that would be a key, a table or a comment if it were not in a string or behind a `#`.
NASTY = st.sampled_from(
    [
        "",
        "a = 1",
        "[[servers]]\nname = 2",
        "# b",
        "'",
        '"',
        "''",
        '""',
        "\\",
        "a\tb",
        "é = [",
        "]\n}\n[b]\nb=3",
        ", a",
    ]
)
BLANKS = st.sampled_from(["", " ", "\t", "  \t"])
NOISE = st.sampled_from(["", "\n", "# a = 1\n", "\t#[[servers]]\n", "  \n\n", '# """\n', "#'\n# é [b]\n"])
SCALARS = st.sampled_from(
    [
        "1",
        "-0x0f".replace("-", ""),
        "1_000",
        "true",
        "3.5e-2",
        "1979-05-27",
        "1979-05-27 07:32:00",
        "07:32:00.5",
        "inf",
    ]
)
PAIRS = ("value", "dotted", "header", "list of headers")


def basic(text, quote='"'):
    escaped = "".join(f"\\u{ord(char):04x}" if char in '"\\' or ord(char) < 32 else char for char in text)
    return f"{quote}{escaped}{quote}"


@st.composite
def a_key(draw, name):
    forms = [basic(name)]
    if name and all(char.isascii() and (char.isalnum() or char == "-") for char in name):
        forms += [name, name]
    if "'" not in name:
        forms.append(f"'{name}'")
    return draw(st.sampled_from(forms))


@st.composite
def a_string(draw):
    text = draw(NASTY)
    forms = [basic(text), basic(text, '"""')]
    if "'" not in text:
        forms += [f"'''{text}'''", f"'''\n{text}'''", f"'''{text}''''"]
        forms += [f"'{text}'"] if "\n" not in text else []
    if "\\" not in text and '"""' not in text and not text.endswith('"'):
        forms += [f'"""{text}"""', f'"""\n{text}\\\n  """', f'"""{text}"""""']
    return draw(st.sampled_from(forms))


@st.composite
def a_value(draw, depth):
    kind = draw(
        st.sampled_from(["scalar", "string", "string", "array", "table"] if depth else ["scalar", "string"])
    )
    if kind == "scalar":
        return draw(SCALARS)
    if kind == "string":
        return draw(a_string())
    between = st.tuples(BLANKS, st.sampled_from(["", "\n", " # ] , a = 1\n"]), BLANKS).map("".join)
    if kind == "array":
        inside = draw(st.lists(a_value(depth - 1), max_size=3))
        last = draw(st.sampled_from(["", ","])) if inside else ""
        pieces = [draw(between) + one + draw(between) for one in inside]
        return f"[{','.join(pieces)}{last}{draw(between)}]"
    names = draw(st.lists(NAMES, unique=True, max_size=3))
    pairs = [draw(BLANKS) + draw(a_pair((name,), depth - 1)) + draw(BLANKS) for name in names]
    return f"{{{','.join(pairs)}}}"


@st.composite
def a_pair(draw, names, depth):
    """A key, dotted where it has several names, and its value."""
    dot = f"{draw(BLANKS)}.{draw(BLANKS)}"
    key = dot.join([draw(a_key(name)) for name in names])
    return f"{key}{draw(BLANKS)}={draw(BLANKS)}{draw(a_value(depth))}"


@st.composite
def a_line(draw, names, depth):
    comment = draw(st.sampled_from(["", "", ' # b = "', "#[x]"]))
    return f"{draw(NOISE)}{draw(BLANKS)}{draw(a_pair(names, depth))}{draw(BLANKS)}{comment}\n"


@st.composite
def sections(draw, above, depth, header):
    """The text of a table: its own section, and those of the tables below it, which may come first."""
    own, below = "", []
    for name in draw(st.lists(NAMES, unique=True, max_size=4)):
        form = draw(st.sampled_from(PAIRS if depth else PAIRS[:2]))
        if form == "value":
            own += draw(a_line((name,), 2))
        elif form == "dotted":
            for last in draw(st.lists(NAMES, unique=True, min_size=1, max_size=2)):
                own += draw(a_line((name, last), 1))
        else:
            opening, closing = ("[", "]") if form == "header" else ("[[", "]]")
            times = 1 if form == "header" else draw(st.integers(1, 3))
            path = (*above, name)
            keys = [draw(a_key(part)) for part in path]
            line = f"{draw(BLANKS)}{opening}{draw(BLANKS)}{' . '.join(keys)}{draw(BLANKS)}{closing} # [a]\n"
            below.append("".join(draw(sections(path, depth - 1, line)) for _ in range(times)))
    text = "".join(draw(st.permutations(below)))
    own = header + own + draw(NOISE)
    first = not header.strip() or header.strip().startswith("[[") or not below or draw(st.booleans())
    return own + text if first else text + own


@st.composite
def documents(draw):
    text = draw(sections((), 2, ""))
    return text.replace("\n", "\r\n") if draw(st.booleans()) else text


def paths_in(values, above=()):
    items = (
        values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    )
    for key, value in items:
        yield (*above, key)
        yield from paths_in(value, (*above, key))


def replaced(values, path, new):
    values = deepcopy(values)
    inside = values
    for part in path[:-1]:
        inside = inside[part]
    inside[path[-1]] = new
    return values


# --- properties -------------------------------------------------------------------------------------


@settings(database=None, deadline=None)
@given(documents())
def test_replacing_what_is_found_changes_exactly_that_value(text):
    values = tomllib.loads(text)
    for entry in entries(text):
        if entry.value is not None:
            start, end = entry.value
            changed = tomllib.loads(f'{text[:start]}"changed"{text[end:]}')
            assert changed == replaced(values, entry.path, "changed")


@settings(database=None, deadline=None)
@given(documents())
def test_every_key_is_found_where_its_name_is_written(text):
    values = tomllib.loads(text)
    found = entries(text)
    assert {entry.path for entry in found} == set(paths_in(values))
    for entry in found:
        names = [part for part in entry.path if isinstance(part, str)]
        if isinstance(entry.path[-1], int) and entry.value is not None:
            assert (entry.start, entry.end) == entry.value
        else:
            assert tomllib.loads(f"{text[entry.start : entry.end]} = 1") == {names[-1]: 1}
        assert find(text, entry.path) in {
            position_of(text, one.start) for one in found if one.path == entry.path
        }


@settings(database=None, deadline=None)
@given(documents())
def test_a_mistake_at_a_place_is_told_there_by_tomllib_too(text):
    """The two count lines and columns alike: an invalid value is at the place of the value."""
    for entry in entries(text):
        if entry.value is not None:
            start, end = entry.value
            with pytest.raises(tomllib.TOMLDecodeError, match=r"Invalid value") as raised:
                tomllib.loads(f"{text[:start]}?{text[end:]}")
            line, column = position_of(text, start)
            assert str(raised.value).endswith(f"(at line {line}, column {column})")


@settings(database=None)
@given(st.text() | st.lists(st.sampled_from([*"[]{}=.,\"'\\#\n\r\t a1", '"""', "'''"])).map("".join))
def test_any_text_has_places_or_none(text):
    for entry in entries(text):
        assert 0 <= entry.start <= entry.end <= len(text)


# --- single cases -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "path", "place"),
    [
        ("# args = 5\nargs = 7", ("args",), (2, 1)),
        ('text = """\n[[servers]]\nname = 1\n"""\n[[servers]]\nname = 2', ("servers", 0, "name"), (6, 1)),
        ("text = '''\n[a]\nb = 1\n'''\n[a]\nb = 2", ("a", "b"), (6, 1)),
        ('a = "\\"\\nb = 1" # b = 2\nb = 3', ("b",), (2, 1)),
        ("a = [\r\n\t1, # 2,\r\n\t2 ]\r\n", ("a", 1), (3, 2)),
        ("é = {}", ("é",), None),
        ('"é" = { "ß" = 1, b = 2 }', ("é", "b"), (1, 18)),
        ("a.b.c = 1\na.b.d = 2", ("a", "b", "d"), (2, 5)),
        ("a.b.c = 1\na.b.d = 2", ("a", "b"), (1, 3)),
        ("[a.b]\n[a]\n", ("a",), (2, 2)),
        ("[[a]]\n[[a.b]]\n[[a]]\n[[a.b]]\n[[ a . b ]]\nc = 1", ("a", 1, "b", 1, "c"), (6, 1)),
        ("[a]\nb = { c = 1 }", ("a", "b", "nothing", "such"), (2, 1)),
        ("a = 1979-05-27 07:32:00\nb = 1", ("b",), (2, 1)),
        ("a = {\n  b = 1, # new in TOML 1.1\n  c = 2,\n}\n", ("a", "c"), (3, 3)),
        ("a = 1", ("b",), None),
        ("a = 1\n= 2\nb = 1", ("b",), None),
    ],
)
def test_a_place(text, path, place):
    assert find(text, path) == (Position(*place) if place else None)


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ((), ""),
        (("servers", 0, "url"), "servers[0].url"),
        (("a b", "c.d", ""), '"a b"."c.d".""'),
        (('"\\', "\n\x1b[31m", "\u202e\U000e0001"), '"\\"\\\\"."\\u000A\\u001B[31m"."\\u202E\\U000E0001"'),
        (("x" * 1000,), "x" * 77 + "..."),
        (("x", "é" * 1000, "y"), 'x."' + "é" * 77 + '...".y'),
    ],
)
def test_a_path_is_written_as_toml_has_it_and_printable(path, written):
    assert dotted(path) == written


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("a = 1\nb = " + "[" * 100_000, 10 + MAX_TOML_DEPTH),
        ("a = 1\nb = " + "{b = " * 100_000, 10 + 5 * (MAX_TOML_DEPTH - 1) + 1),
        ("a = 1\n" + "b." * 500_000 + "b = 1", 6),
        ("[" + "b." * 500_000 + "b]", 1),
        ("a = 1\n" + "b" * (MAX_TOML_KEY_CHARS + 1) + " = 1", 6),
    ],
)
def test_what_is_beyond_the_bounds_is_told_with_its_place(text, offset):
    with pytest.raises(BeyondBounds) as raised:
        entries(text)
    assert raised.value.offset == offset
    assert find(text, ("b",)) is None


def test_what_is_within_the_bounds_is_read():
    deepest = "[" * (MAX_TOML_DEPTH - 1) + "]" * (MAX_TOML_DEPTH - 1)
    assert max(len(entry.path) for entry in entries(f"a = {deepest}")) == MAX_TOML_DEPTH - 1
    key = "b" * MAX_TOML_KEY_CHARS
    assert find(f"a = 1\n{key} = 1", (key,)) == Position(2, 1)
