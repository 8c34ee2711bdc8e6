"""`daemonry new`: a whole project, whose checks and tests pass at once."""

import sys

import pytest

from daemonry import errors
from daemonry.cli.new.project import TEMPLATES, check_name, files_of


@pytest.mark.parametrize("name", ["a", "my-tool", "x2-y3", "n" * 40])
def test_every_template_is_filled_in(name):
    files = files_of(check_name(name))
    assert len(files) == len(TEMPLATES)
    package = name.replace("-", "_")
    assert f"src/{package}/service.py" in files
    assert f'"{name}"' in files[f"src/{package}/service.py"]
    assert not any(word in text for text in files.values() for word in ("PACKAGE", "INTERFACE", "CLASS"))


@pytest.mark.parametrize(
    "name", ["", "A", "json", "../x", "a--b", "-a", "daemonry", "class", "n" * 41, "a\nb", "test", "pytest"]
)
def test_a_name_that_cannot_be_one_is_refused(name):
    with pytest.raises(errors.ArgumentInvalid):
        check_name(name)


def test_nothing_is_written_over(sandbox):
    assert sandbox.daemonry("new", "my-tool").code == 0
    (sandbox.path / "my-tool/README.md").write_text("mine")
    again = sandbox.daemonry("new", "my-tool")
    assert again.code == 2
    assert "is there already" in again.err
    assert (sandbox.path / "my-tool/README.md").read_text() == "mine"


@pytest.mark.slow
def test_the_new_projects_tests_and_checks_pass(sandbox):
    assert sandbox.daemonry("new", "my-tool").code == 0
    project = sandbox.path / "my-tool"

    def run(*words):
        done = sandbox.run("/bin/sh", "-c", 'cd "$0" && exec "$@"', project, sys.executable, "-m", *words)
        assert done.code == 0, done.out + done.err
        return done.out

    assert "3 passed" in run("pytest", "-q", "-p", "no:cacheprovider")
    for words in (
        ["ruff", "format", "--check", "."],
        ["ruff", "check", "."],
        ["mypy", "--cache-dir=/dev/null"],
    ):
        pytest.importorskip(words[0]) if words[0] == "mypy" else None
        run(*words)
