"""Nothing is written twice: a program's parser, completion and page know the same verbs and options."""

import argparse
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from daemonry.cli import commands, grammar
from daemonry.cli.completion import candidates
from daemonry.cli.grammar import Program
from daemonry.cli.parser import parser_of, parser_of_command
from mcp_cli.cli import grammar as mcp_grammar
from mcp_cli.client import options as mcp_options
from palingenesis import grammar as palingenesis_grammar
from vx.cli import grammar as vx_grammar

ROOT = Path(__file__).resolve().parents[2]


class Surface(NamedTuple):
    """One program's command line."""

    program: Program
    page: str
    drawn: str


SURFACES = {
    "daemonry": Surface(commands.DAEMONRY, "docs/cli.md", "commands of daemonry"),
    "mcp-cli": Surface(mcp_grammar.MCP_CLI, "docs/mcp-cli.md", "commands of mcp-cli"),
    "palingenesis": Surface(
        palingenesis_grammar.PALINGENESIS, "apps/palingenesis/README.md", "commands of palingenesis"
    ),
    "vx": Surface(vx_grammar.VX, "apps/vx/README.md", "commands of vx"),
    "homes": Surface(
        commands.DAEMONRY._replace(commands=commands.HOME), "docs/homes.md", "commands of homes"
    ),
}


@pytest.fixture(params=SURFACES)
def surface(request):
    return SURFACES[request.param]


def of_the_parser(parser, path=""):
    """Each verb of a parser with its options, as argparse itself knows them, without what it hides."""
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if path or not inner:
        shown = (action for action in parser._actions if action.help != argparse.SUPPRESS)
        yield path, {name for action in shown for name in action.option_strings}
    for action in inner:
        for name, one in action.choices.items():
            yield from of_the_parser(one, f"{path} {name}".strip())


def of_the_completion(program, path=""):
    """Each verb that completion offers, with the options that it offers behind it."""
    before = path.split()
    if path:
        yield path, set(candidates(program, [*before, "-"], {}).found)
    options = {name for name in candidates(program, [*before, ""], {}).found if name.startswith("-")}
    verbs = set(candidates(program, [*before, ""], {}).found) - options
    if not is_group(program, before):
        return
    for verb in verbs:
        yield from of_the_completion(program, f"{path} {verb}".strip())


def is_group(program, before):
    found = program
    for name in before:
        found = next(one for one in found.commands if one.name == name)
    return bool(found.commands)


def of_the_page(page, drawn):
    """Each verb that a page's table shows, with its options."""
    text = (ROOT / page).read_text()
    table = text.partition(f"<!-- drawn: {drawn} -->")[2].partition("<!-- end -->")[0]
    for line in table.splitlines():
        row = re.match(r"\| `(.+?)` \| (.*?) \| .* \|$", line)
        if row:
            verbs = re.match(r"[a-z-]+( [a-z-]+(?= |$))*", row[1])[0]
            yield verbs, set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", row[2]))


def without_help(found):
    return {path: names - {"-h", "--help"} for path, names in found}


def test_completion_offers_what_the_parser_takes(surface):
    known = dict(of_the_parser(parser_of(surface.program)))
    assert known.pop("", None) is None
    aliases = {
        alias for _, one in grammar.commands_of(surface.program) for alias in one.aliases
    }  # offered as they are typed
    common = {name for option in surface.program.common for name in option.flags}
    offered = dict(of_the_completion(surface.program))
    assert len(offered) > 5
    assert offered == {path: names | common for path, names in known.items() if path not in aliases}


def test_the_page_shows_what_the_parser_takes(surface):
    groups = {path for path, _ in grammar.commands_of(surface.program)}
    known = without_help(of_the_parser(parser_of(surface.program)))
    shown = dict(of_the_page(surface.page, surface.drawn))
    assert shown == {path: names for path, names in known.items() if path in groups}


def test_the_page_shows_the_options_of_every_command(surface):
    text = (ROOT / surface.page).read_text()
    table = text.partition(f"<!-- drawn: {surface.drawn} -->")[2].partition("<!-- end -->")[0]
    for option in surface.program.common:
        assert f"| `{', '.join(option.flags)}" in table


@pytest.mark.parametrize("command", commands.HOME, ids=lambda command: command.name)
def test_a_command_of_a_home_has_a_parser_of_its_own(command):
    parsed = parser_of_command("daemonry", command)
    assert (
        dict(of_the_parser(parsed))[""]
        == dict(of_the_parser(parser_of(SURFACES["homes"].program)))[command.name]
    )


def test_each_verb_is_one_command():
    for name, (program, *_) in SURFACES.items():
        paths = [path for path, _ in grammar.commands_of(program)]
        assert len(paths) == len(set(paths)), name


def test_mcp_cli_reads_the_options_of_every_command_as_its_table_says():
    """They are read without the table, on the path of every warm call."""
    flags = {name for one in mcp_grammar.COMMON if not one.takes_value for name in one.flags}
    valued = {name for one in mcp_grammar.COMMON if one.takes_value for name in one.flags}
    assert flags == {*mcp_options._FLAGS, *mcp_options._MODES}
    assert valued == set(mcp_options._VALUES)
