"""What the pages draw from the code: all of it is drawn, and a drawing that cannot be made is an error."""

import enum
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DRAW = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import drawings
drawings.ROOT = Path(sys.argv[2])
print(drawings.rooms("house", "src"))
"""
FILES = {
    "__init__.py": "",
    "top.py": '"""Top."""\nfrom house.hall import door\n',
    "hall/__init__.py": '"""Hall."""\n',
    "hall/door.py": "def open():\n    from house import stairs\n",
    "stairs.py": '"""Stairs."""\n',
}
CIRCLE = {**FILES, "stairs.py": "from house import cellar\n", "cellar.py": "import house.hall.door\n"}


def drawn(directory, files):
    for name, text in files.items():
        path = directory / "src/house" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    words = [sys.executable, "-c", DRAW, str(ROOT / "docs"), str(directory)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def test_rooms_stand_on_floors_above_those_that_they_need(tmp_path):
    done = drawn(tmp_path, FILES)
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    wanted = ["src/house/", "top.py Top -> hall", "", "hall/ Hall -> stairs", "", "stairs.py Stairs"]
    assert (lines, done.stderr) == (wanted, "")


def test_a_circle_is_an_error_that_names_it(tmp_path):
    """It has no floors: to look for them until all are found would never end."""
    done = drawn(tmp_path, CIRCLE)
    assert done.returncode == 1
    circle = done.stderr.splitlines()[-1].partition("a circle of imports: ")[2].split(" -> ")
    assert circle == ["cellar", "hall", "stairs", "cellar"]


@pytest.fixture
def drawings(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    return importlib.import_module("drawings")


class Light(enum.Enum):
    RED = "red"
    LAST_RED = "last red"


class Event(enum.Enum):
    WAIT = "some time passes"


def test_a_table_is_drawn_with_each_change_and_without_what_changes_nothing(drawings):
    table = {Light.RED: {Event.WAIT: Light.LAST_RED, "asked": Light.RED}, Light.LAST_RED: {}}
    assert drawings.state_diagram(table, Light.RED, Light.LAST_RED).splitlines() == [
        "stateDiagram-v2",
        "    [*] --> red",
        "    red --> last_red: some time passes",
        "    last_red --> [*]",
    ]


def test_an_error_without_a_cure_is_not_drawn(drawings, monkeypatch):
    """The page would not tell what to do about it."""
    assert "| `NotRunning` | No process is this daemon. |" in drawings.error_table()
    monkeypatch.delitem(drawings.CURES, "NotRunning")
    with pytest.raises(drawings.CannotBeDrawn, match="no cure for NotRunning"):
        drawings.error_table()


def test_a_cure_is_one_of_an_error(drawings):
    assert [name for name in drawings.CURES if not hasattr(drawings.errors, name)] == []


def test_every_table_of_states_is_drawn(drawings):
    """One arrow for each change: no two states, and no two events, look alike in it."""
    assert len(drawings.STATES) == 7
    for table, first, last in drawings.STATES.values():
        rows = drawings.state_diagram(table, first, last).splitlines()
        changes = sum(after != state for state, answers in table.items() for after in answers.values())
        assert len(set(rows)) == len(rows) == changes + 2 + (last is not None)
        assert first in table
        assert last is None or last in table


def test_what_the_pages_draw_and_copy_is_as_the_code_is():
    """`docs/check.py` would find it too, but takes minutes.  Its `--update` puts it right."""
    words = [sys.executable, str(ROOT / "docs/check.py"), "--still"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    assert re.fullmatch(r"\d\d+ pages, 0 complaints\n", done.stdout)


@pytest.fixture
def pictures(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs/site")
    return importlib.import_module("pictures")


def test_the_site_draws_every_table_of_states_with_all_its_events(drawings, pictures):
    for name, (table, first, last) in drawings.STATES.items():
        lines = drawings.state_diagram(table, first, last).splitlines()
        arrows = pictures.arrows(lines)
        shown = re.findall(r'"(.+)" -> "(.+)" \[label="(.*)"\]', pictures.dot(arrows))
        found = [f"{one}: {event}" for *one, label in shown for event in label.split(r"\n")]
        assert len(set(found)) == len(lines) - 1, name
        assert len(shown) == len(arrows), name
        rows = pictures.table(arrows).splitlines()
        assert len(set(rows)) == len(rows) == len(arrows) - 1 + 4, (
            name
        )  # the beginning is a line, and a blank


@pytest.mark.parametrize("lines", [[], ["graph LR"], ["stateDiagram-v2", "note right of a: b"]])
def test_a_drawing_of_another_kind_is_refused(pictures, lines):
    with pytest.raises(pictures.NotDrawable):
        pictures.arrows(lines)
