"""A daemon's command line as a command of click's, Typer's or argparse's."""

import argparse

import pytest

from daemonry import Daemon

daemon = Daemon("mounted")


def exit_of(run, *arguments):
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    return ended.value.code


@pytest.fixture
def by_argparse(sandbox):
    parser = argparse.ArgumentParser(prog="prog")
    daemon.command("svc").add_to(parser.add_subparsers())
    return lambda words: exit_of(parser.parse_args, words)


@pytest.fixture
def by_click(sandbox):
    click = pytest.importorskip("click")
    group = click.Group("prog")
    daemon.command("svc").add_to(group)
    return lambda words: exit_of(group.main, words, "prog")


@pytest.fixture
def by_typer(sandbox):
    typer = pytest.importorskip("typer")
    app = typer.Typer()
    app.command("other")(lambda: None)
    daemon.command("svc").add_to(app)
    return lambda words: exit_of(app, words, None, "prog")


@pytest.fixture(params=["by_argparse", "by_click", "by_typer"])
def mounted(request):
    return request.getfixturevalue(request.param)


def test_words_help_errors_and_exit_codes_are_the_daemons_own(mounted, capsys):
    assert mounted(["svc", "status", "--json"]) == 3
    assert '"state":"absent"' in capsys.readouterr().out
    assert mounted(["svc", "stop"]) == 0
    assert mounted(["svc", "--help"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("usage: prog svc [-h]")
    assert mounted(["svc", "stat"]) == 2
    assert "there is no 'stat'" in capsys.readouterr().err


def test_it_offers_its_verbs_and_no_completion_script():
    verbs = daemon.command().verbs()
    assert {"run", "start", "status", "stop", "logs"} <= set(verbs)
    assert "completion" not in verbs


def test_what_takes_no_commands_is_refused():
    with pytest.raises(TypeError, match=r"not to ArgumentParser"):
        daemon.command().add_to(argparse.ArgumentParser())
