"""Options stand where they want, and a mistake is one line."""

import pytest

from daemonry.cli.parser import Parser, options_first

TAKEN = {"-f": 0, "--follow": 0, "-n": 1, "--tail": 1, "--pair": 2}


@pytest.mark.parametrize(
    ("words", "ordered"),
    [
        ("", ""),
        ("a b", "a b"),
        ("a -f b", "-f a b"),
        ("a --tail 3 b", "--tail 3 a b"),
        ("a --tail=3 b", "--tail=3 a b"),
        ("a --pair 1 2 b", "--pair 1 2 a b"),
        ("a -n3 b", "-n3 a b"),
        ("a -fn 3 b", "-fn 3 a b"),
        ("a -fn3 b", "-fn3 a b"),
        ("a -nf b", "-nf a b"),  # which is `-n f`
        ("a --what b", "a --what b"),
        ("a --what=1 b -f", "-f a --what=1 b"),
        ("a -x -f b", "-f a -x b"),
        ("a -fx b", "a -fx b"),
        ("a - -f", "-f a -"),
        ("a -1 -f", "-f a -1"),
        ("a -- -f b", "a -- -f b"),
        ("a -f -- -n 3 --", "-f a -- -n 3 --"),
        ("a --tail", "a --tail"),
        ("a --tail -- b", "a --tail -- b"),
        ("a --pair 1 -- b", "a --pair 1 -- b"),
    ],
)
def test_options_go_first(words, ordered):
    assert options_first(words.split(), TAKEN) == ordered.split()


def parser():
    whole = Parser(prog="tool", allow_abbrev=False)
    whole.add_argument("--version", action="version", version="1")
    verbs = whole.add_subparsers(dest="verb", required=True, parser_class=Parser)
    logs = verbs.add_parser("logs", allow_abbrev=False)
    logs.add_argument("name")
    logs.add_argument("words", nargs="*", default=[])
    logs.add_argument("-f", "--follow", action="store_true")
    logs.add_argument("-n", "--tail", type=int)
    logs.add_argument("--colour", nargs="?")
    return whole


@pytest.mark.parametrize(
    "line", ["a b c -f -n 3", "-f a -n 3 b c", "a -f b -n3 c", "a b --follow --tail=3 c", "a -fn 3 -- b c"]
)
def test_a_list_of_words_may_have_options_within(line):
    given = parser().parse_args(["logs", *line.split()])
    assert (given.name, given.words, given.follow, given.tail) == ("a", ["b", "c"], True, 3)


def test_words_behind_two_dashes_are_words():
    given = parser().parse_args(["logs", "a", "-f", "--", "-n", "--x"])
    assert (given.words, given.follow, given.tail) == (["-n", "--x"], True, None)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "tool: the following arguments are required: verb (try tool --help)\n"),
        ("logs a --what", "tool: unrecognized arguments: --what (try tool --help)\n"),
        ("logs a b --tail", "tool logs: argument -n/--tail: expected one argument (try tool logs --help)\n"),
        (
            "logs a -n \x1b",
            "tool logs: argument -n/--tail: invalid int value: '\\x1b' (try tool logs --help)\n",
        ),
    ],
)
def test_a_mistake_is_one_line(capsys, line, said):
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(line.split())
    assert ended.value.code == 2
    assert capsys.readouterr().err == said
