"""Configuration: a file becomes a typed value or one line that says what is wrong, and where."""

import os
import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemonry.daemon import config
from daemonry.daemon.config import RESTART, compare, effective, load_config
from daemonry.errors import ConfigError
from daemonry.limits import MAX_CONFIG_BYTES
from daemonry.typed_toml import ConfigText
from daemonry.typed_toml.typed import convert


@dataclass
class Hook:
    url: str = ""
    retries: int = 3


@dataclass
class Net:
    host: str = "localhost"
    port: Annotated[int, RESTART] = 1
    hook: Hook = field(default_factory=Hook)


class Peer(msgspec.Struct):
    name: str
    tags: list[str] = []


@dataclass
class Settings:
    level: Literal["info", "debug"] = "info"
    every_s: float = 1.0
    on: bool = True
    socket: Annotated[str, RESTART] = "/run/x.sock"
    least: Annotated[int, msgspec.Meta(ge=1, le=10)] = 1
    net: Net = field(default_factory=Net)
    spare: Net | None = None
    late: Annotated[Net | None, RESTART] = None
    peers: list[Peer] = field(default_factory=list)
    hooks: dict[str, Hook] = field(default_factory=dict)
    more_hooks: dict[str, list[Hook]] | None = None
    grid: tuple[tuple[Hook, ...], ...] = ()
    hook_or_url: Hook | str = ""

    def __post_init__(self):
        if self.every_s < 0:
            raise ValueError("every_s must not be negative")


class Kebab(msgspec.Struct, rename="kebab"):
    every_secs: float = 1.0
    listen_at: Annotated[str, RESTART] = "here"


class Mail(msgspec.Struct, tag="mail"):
    address: str = ""


class Web(msgspec.Struct, tag="web"):
    link: str = ""


@dataclass
class Notices:
    to: Mail | Web | None = None


@pytest.fixture
def read(tmp_path):
    """A function that reads a text as a configuration file; errors have the file's path as F."""

    def read(text, kind=Settings):
        path = tmp_path / "config.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        try:
            return load_config(str(path), kind)
        except ConfigError as error:
            return str(error).replace(error.path, "F")

    return read


# --- good files -----------------------------------------------------------------------------------


def test_a_missing_file_means_the_defaults(tmp_path):
    assert load_config(str(tmp_path / "none.toml"), Settings) == Settings()


def test_an_empty_file_means_the_defaults(read):
    assert read("") == Settings()


def test_a_file_sets_what_it_names_and_leaves_the_rest(read):
    text = """
        level = "debug"
        every_s = 2
        net = { host = "h", hook = { retries = 5 } }
        hook_or_url = "u"
        [[peers]]
        name = "a"
        [[peers]]
        name = "b"
        tags = ["x", "y"]
        [hooks.first]
        url = "1"
        [[more_hooks.kind]]
        retries = 0
        [spare]
        port = 7
    """
    assert read(text) == Settings(
        level="debug",
        every_s=2.0,
        net=Net(host="h", hook=Hook(retries=5)),
        hook_or_url="u",
        peers=[Peer("a"), Peer("b", ["x", "y"])],
        hooks={"first": Hook("1")},
        more_hooks={"kind": [Hook(retries=0)]},
        spare=Net(port=7),
    )


def test_windows_line_ends_do_not_matter(read):
    assert read("level = 'debug'\r\n[net]\r\nhost = 'h'\r\n") == Settings(level="debug", net=Net(host="h"))


def test_a_struct_with_names_of_its_own_is_read_by_those(read):
    assert read("every-secs = 2\nlisten-at = 'there'", Kebab) == Kebab(2.0, "there")


def test_of_two_possible_tables_the_tag_tells(read):
    """A key of one must not be called unknown because the other does not have it."""
    assert read("[to]\ntype = 'web'\nlink = 'x'", Notices) == Notices(Web("x"))


# --- bad files: `FILE:LINE:COLUMN: key: reason`, one line -----------------------------------------------


TABLE_OR_TEXT = (
    "expected a table with url, retries, as hook_or_url = { url = ... }, or text; got a whole number"
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        # an unknown key, with the nearest known one, or else all of them
        ("levl = 'x'", "F:1:1: levl: is not known: did you mean 'level'?"),
        ("net.prot = 1", "F:1:5: net.prot: is not known: did you mean 'port'?"),
        ("[net.hook]\nretry = 1", "F:2:1: net.hook.retry: is not known: did you mean 'retries'?"),
        ("[net]\nzzz = 1", "F:2:1: net.zzz: is not known: known are hook, host, port"),
        ("[spare]\nhots = 1", "F:2:1: spare.hots: is not known: did you mean 'host'?"),
        (
            "[[peers]]\nname='a'\n[[peers]]\nnme='b'",
            "F:4:1: peers[1].nme: is not known: did you mean 'name'?",
        ),
        ("[hooks.a]\nurll = 'x'", "F:2:1: hooks.a.urll: is not known: did you mean 'url'?"),
        ("[[more_hooks.a]]\nurll = 'x'", "F:2:1: more_hooks.a[0].urll: is not known: did you mean 'url'?"),
        ("grid = [[], [{}, {ulr = 'x'}]]", "F:1:19: grid[1][1].ulr: is not known: did you mean 'url'?"),
        ("hook_or_url = {ulr = 'x'}", "F:1:16: hook_or_url.ulr: is not known: did you mean 'url'?"),
        # a value of the wrong type, or out of its range
        ("level = 'loud'", "F:1:1: level: invalid enum value 'loud': info or debug"),
        ("every_s = 'a'", "F:1:1: every_s: expected `float`, got `str`"),
        ("on = 1", "F:1:1: on: expected `bool`, got `int`"),
        ("least = 11", "F:1:1: least: expected `int` <= 10"),
        ("least = true", "F:1:1: least: expected `int`, got `bool`"),
        (
            "net = 1",
            "F:1:1: net: expected a table with host, port, hook, as net = { host = ... }; got a whole number",
        ),
        ("[net]\nhost = 1", "F:2:1: net.host: expected `str`, got `int`"),
        ("[net.hook]\nretries = 'x'", "F:2:1: net.hook.retries: expected `int`, got `str`"),
        ("[[peers]]\ntags = []", "F:1:3: peers[0]: the key name is missing"),
        ("[[peers]]\nname = 'a'\ntags = ['x', 1]", "F:3:14: peers[0].tags[1]: expected `str`, got `int`"),
        ("[hooks.a]\n[hooks.b]\nurl = 1", "F:3:1: hooks.b.url: expected `str`, got `int`"),
        ("hooks = [1]", "F:1:1: hooks: expected a table; got a list"),
        (
            "hooks.a = true",
            "F:1:7: hooks.a: expected a table with url, retries, as a = { url = ... }; got true or false",
        ),
        (
            "peers = [1979-05-27]",
            "F:1:10: peers[0]: expected a table with name, tags, as { name = ... }; got a date",
        ),
        ("hook_or_url = 1", "F:1:1: hook_or_url: " + TABLE_OR_TEXT),
        ("every_s = -1", "F: every_s must not be negative"),
        # not even text
        (b"level = 'info'\n\nsocket = '\xe9'\n", "F:3:11: is not UTF-8"),
    ],
)
def test_a_bad_file_is_told_by_file_key_and_reason(read, text, told):
    assert read(text) == told


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("level = ", "1:9"),
        ("\nlevel = 'a\n'", "2:11"),
        ("level = 1\n[level]", "2:7"),
        ("level = 'a'\x00", "1:12"),
        ("level = 'a'\n\ufefflevel = 'a'", "2:1"),
    ],
)
def test_what_is_no_toml_is_told_by_its_place(read, text, place):
    assert read(text).startswith(f"F:{place}: not TOML: ")


NOT_KEYS = """\
# every_s = "a comment"
socket = '''
every_s = "text"
[[peers]]
name = 1
'''
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('every_s = "x"', "F:7:1: every_s: expected `float`, got `str`"),
        ("\t[[peers]]\n\tname = 1", "F:8:2: peers[0].name: expected `str`, got `int`"),
        ("peers = [{tags = ['é', 'ß'], name = 1}]", "F:7:30: peers[0].name: expected `str`, got `int`"),
        (
            "[hooks.é]\n".replace("é", "'é'") + "[hooks.'a b'] # [hooks.c]\nurl = 1",
            'F:9:1: hooks."a b".url: expected `str`, got `int`',
        ),
        (
            "[[more_hooks.a]]\n[[more_hooks.b]]\n[[more_hooks.b]]\nurl = 1",
            "F:10:1: more_hooks.b[1].url: expected `str`, got `int`",
        ),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_the_place_is_that_of_the_key_and_of_no_text_like_it(read, text, told, line_end):
    assert read((NOT_KEYS + text).replace("\n", line_end)) == told


@dataclass
class Maps:
    maps: dict[str, dict[str, Hook]] = field(default_factory=dict)


def test_the_entry_of_a_map_is_named_however_many_there_are_and_in_maps_of_maps(read):
    many = "".join(f"[maps.m{number}.h{number}]\nretries = {number}\n" for number in range(3000))
    many = many.replace("retries = 2345\n", "retries = 'x'\n").replace("retries = 2500\n", "retries = 'x'\n")
    assert read(many, Maps) == f"F:{2 * 2345 + 2}:1: maps.m2345.h2345.retries: expected `int`, got `str`"


def test_a_file_over_the_limit_is_refused(read):
    assert read("#" * (MAX_CONFIG_BYTES + 1)) == f"F: longer than {MAX_CONFIG_BYTES} bytes"


def test_a_file_nested_without_end_is_refused(read):
    """The parser recurses, and what it raises then is no error of TOML's."""
    assert read("a = " + "[" * 100_000) == "F:1:69: nested deeper than 64 levels"


def test_a_number_that_python_does_not_read_is_told(read):
    """`int()` stops at 4,300 digits with an error that is not the TOML parser's own."""
    assert read("least = " + "9" * 5000).startswith("F:1:9: not TOML: Exceeds the limit")


def test_a_file_at_the_limit_is_read(read):
    assert read("#" * MAX_CONFIG_BYTES) == Settings()


def test_a_directory_is_no_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(str(tmp_path), Settings)


def test_a_file_that_must_exist(tmp_path):
    """The daemon was started with it: the defaults instead of it would be a silent change."""
    with pytest.raises(ConfigError, match=r"none\.toml: there is no such file"):
        load_config(str(tmp_path / "none.toml"), Settings, must_exist=True)


@settings(database=None)
@given(st.text() | st.binary())
def test_any_file_is_a_value_or_one_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data)
    try:
        found = load_config(str(path), Settings)
    except ConfigError as error:
        found = error
    assert isinstance(found, Settings) or found.reason


KEYS = st.sampled_from([*Settings.__dataclass_fields__, "host", "url", "name", "x"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


@settings(database=None)
@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_table_is_a_value_or_an_error_with_its_key(table):
    """No shape of tables, lists and maps gets through unchecked, or trips the check itself."""
    try:
        found = convert(ConfigText("F", "", table), Settings)
    except ConfigError as error:
        found = error
    if isinstance(found, ConfigError):
        assert not found.key or found.key.partition(".")[0].partition("[")[0] in table
    else:
        assert set(table) <= set(Settings.__dataclass_fields__)


# --- what changed, and what of it counts ----------------------------------------------------------


def test_no_change_is_no_change():
    assert compare(Settings(), Settings()) == ([], [])


def test_changes_are_told_by_their_dotted_keys_live_and_restart_apart():
    new = Settings(level="debug", socket="y", net=Net("h", 2, Hook("u")), peers=[Peer("a")])
    assert compare(Settings(), new) == (
        ["level", "net.host", "net.hook.url", "peers"],
        ["socket", "net.port"],
    )


def test_a_whole_table_that_needs_a_restart_is_one_change():
    assert compare(Settings(), Settings(late=Net())) == ([], ["late"])
    assert compare(Settings(late=Net()), Settings(late=Net(host="h"))) == ([], ["late"])


def test_a_table_that_comes_or_goes_is_one_change():
    assert compare(Settings(), Settings(spare=Net(port=9))) == (["spare"], [])
    assert compare(Settings(spare=Net()), Settings(spare=Net(port=9))) == ([], ["spare.port"])


def test_names_of_their_own_are_those_that_are_told():
    assert compare(Kebab(), Kebab(2.0, "there")) == (["every-secs"], ["listen-at"])


def test_what_needs_a_restart_stays_as_it_is():
    new = Settings(level="debug", socket="y", net=Net("h", 2), late=Net())
    assert effective(Settings(), new) == Settings(level="debug", net=Net("h", 1))
    assert effective(Kebab(), Kebab(2.0, "there")) == Kebab(2.0, "here")


def test_a_new_value_that_contradicts_what_stays_is_refused():
    """Half of a change can be invalid though the old and the new are both good."""

    @dataclass
    class Range:
        low: Annotated[int, RESTART] = 0
        high: int = 10

        def __post_init__(self):
            if self.low > self.high:
                raise ValueError("low is above high")

    with pytest.raises(
        ConfigError, match=r"^F: does not fit what takes effect .*\(low\): low is above high$"
    ):
        effective(Range(5, 10), Range(0, 3), "F")


NETS = st.fixed_dictionaries(
    {},
    optional={
        "host": st.sampled_from("ab"),
        "port": st.integers(0, 2),
        "hook": st.fixed_dictionaries({}, optional={"url": st.sampled_from("ab")}),
    },
)
TABLES = st.fixed_dictionaries(
    {},
    optional={
        "level": st.sampled_from(["info", "debug"]),
        "socket": st.sampled_from("ab"),
        "net": NETS,
        "spare": NETS,
        "late": NETS,
        "hooks": st.dictionaries(st.sampled_from("ab"), st.just({"retries": 1}), max_size=2),
    },
)


@settings(database=None)
@given(TABLES, TABLES)
def test_what_counts_now_has_all_live_changes_and_no_other(old_table, new_table):
    """Of values as they come from files: what a file leaves out is not even set on a dataclass."""
    old, new = (convert(ConfigText("F", "", table), Settings) for table in (old_table, new_table))
    now = effective(old, new)
    assert compare(old, now) == (compare(old, new).live, [])
    assert compare(now, new) == ([], compare(old, new).restart)


def test_a_type_can_be_named():
    assert config.resolve("dataclasses:Field").__name__ == "Field"
    assert config.resolve(Settings) is Settings


def test_a_path_is_made_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/h")
    assert config.absolute("x.toml") == str(tmp_path / "x.toml")
    assert config.absolute("~/x.toml") == "/h/x.toml"


@pytest.mark.skipif(os.geteuid() != 0, reason="what root takes a configuration from is asked of root only")
@pytest.mark.parametrize(
    ("owner", "mode", "told"),
    [
        ((65534, 0), 0o600, "belongs to uid 65534, and this daemon is root's"),
        ((0, 0), 0o602, "others may write to it (mode 0602), and this daemon is root's"),
        ((0, 65534), 0o620, "others may write to it (mode 0620), and this daemon is root's"),
    ],
)
def test_root_takes_no_configuration_that_others_can_write(tmp_path, owner, mode, told):
    path = tmp_path / "config.toml"
    path.write_text("")
    os.chown(path, *owner)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=re.escape(told)):
        load_config(str(path), Net)
    os.chown(path, 0, 0)
    path.chmod(0o664)
    assert load_config(str(path), Net) == Net()
