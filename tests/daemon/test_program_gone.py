"""An uninstall leaves no daemon; an upgrade in place does."""

import zipfile

from daemonry.limits import PROGRAM_GONE_S
from daemonry.runtime.program_gone import ProgramWatch, is_there


def test_a_program_is_gone_once_its_file_has_been_for_long():
    there = {"/a", "/b"}
    watch = ProgramWatch(["/a", "/b", "", "/never"], lambda path: path in there)
    assert watch.gone(0) == ""
    there.remove("/b")
    assert watch.gone(10) == ""
    assert watch.gone(10 + PROGRAM_GONE_S - 1) == ""
    assert watch.gone(10 + PROGRAM_GONE_S) == "/b"


def test_an_upgrade_in_place_is_survived():
    there = {"/a"}
    watch = ProgramWatch(["/a"], lambda path: path in there)
    there.clear()
    assert watch.gone(0) == ""
    there.add("/a")
    assert watch.gone(PROGRAM_GONE_S) == ""
    there.clear()
    assert watch.gone(PROGRAM_GONE_S + 1) == ""
    assert watch.gone(2 * PROGRAM_GONE_S) == ""


def test_a_module_in_an_archive_is_there_while_the_archive_is(tmp_path):
    archive = tmp_path / "app.pyz"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("part.py", "")
    assert is_there(str(archive / "part.py"))
    archive.unlink()
    assert not is_there(str(archive / "part.py"))


def test_a_daemon_whose_program_is_gone_ends_and_says_why(probe):
    probe.start(
        "import daemonry.runtime.self_check, daemonry.runtime.program_gone\n"
        "daemonry.runtime.self_check.PROGRAM_CHECK_S = 0.1\n"
        "daemonry.runtime.program_gone.PROGRAM_GONE_S = 0.3\n"
    )
    probe.program.unlink()
    probe.wait_gone()
    assert any(f"the program is gone ({probe.program}): ending" in told for told in probe.messages())
