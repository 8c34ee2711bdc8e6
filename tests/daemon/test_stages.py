"""Stages: their order, the reports, and the undoing when one of them fails; with fakes, and as they are."""

import re

import pytest

from daemonry.runtime import announcing, bootstrap, in_process, runner
from daemonry.runtime.stages import Plan, Stage, Stages, drawing
from daemonry.service.server.server import Server
from daemonry.transport.endpoint import Endpoint

NAMES = ("a", "b", "b", "c")


class Fakes:
    """Stages that only write down what is asked of them."""

    def __init__(self, *, failing=None, failing_undo=()):
        self.log = []
        self.failing = failing
        self.failing_undo = failing_undo

    def stage(self, number, *, undoable=True):
        def do(given):
            """Make a number."""
            self.log.append(f"do {number}")
            if number == self.failing:
                raise ValueError(f"stage {number}")
            return (*given, number)

        def undo(made):
            """Forget the number."""
            self.log.append(f"undo {made[-1]}")
            if number in self.failing_undo:
                raise OSError(f"undo of {number}")

        return Stage(NAMES[number], do, undo if undoable else None)

    def plan(self, *numbers, undoable=True):
        first, *others = (self.stage(number, undoable=undoable) for number in numbers)
        plan = Plan.of(first)
        for other in others:
            plan = plan.then(other)
        return plan

    def stages(self):
        return Stages(lambda name: self.log.append(f"enter {name}"))


DONE = ["enter a", "do 0", "enter b", "do 1", "do 2", "enter c", "do 3"]


def test_each_stage_takes_what_the_one_before_it_made():
    fakes = Fakes()
    assert fakes.stages().perform(fakes.plan(0, 1, 2, 3), ()) == (0, 1, 2, 3)
    assert fakes.log == DONE


def test_a_plan_that_follows_another_reports_no_name_a_second_time():
    fakes = Fakes()
    stages = fakes.stages()
    made = stages.perform(fakes.plan(0, 1), ())
    assert stages.perform(fakes.plan(2, 3), made) == (0, 1, 2, 3)
    assert fakes.log == DONE


@pytest.mark.parametrize("failing", range(4))
def test_the_stages_before_the_one_that_failed_are_undone_the_last_first(failing):
    fakes = Fakes(failing=failing)
    stages = fakes.stages()
    with pytest.raises(ValueError, match=f"^stage {failing}$"):
        stages.perform(fakes.plan(0, 1, 2, 3), ())
    assert not [line for line in fakes.log if line.startswith("undo")], "only when `undo` is called"
    assert stages.undo() == []
    undone = [line for line in fakes.log if line.startswith("undo")]
    assert undone == [f"undo {number}" for number in reversed(range(failing))]


def test_after_two_plans_both_are_undone():
    fakes = Fakes()
    stages = fakes.stages()
    stages.perform(fakes.plan(2, 3), stages.perform(fakes.plan(0, 1), ()))
    stages.undo()
    assert fakes.log[len(DONE) :] == ["undo 3", "undo 2", "undo 1", "undo 0"]


def test_what_cannot_be_undone_keeps_nothing_else_from_it():
    fakes = Fakes(failing_undo=(1, 3))
    stages = fakes.stages()
    stages.perform(fakes.plan(0, 1, 2, 3), ())
    assert [str(error) for error in stages.undo()] == ["undo of 3", "undo of 1"]
    assert fakes.log[len(DONE) :] == ["undo 3", "undo 2", "undo 1", "undo 0"]


def test_undone_twice_is_undone_once():
    fakes = Fakes()
    stages = fakes.stages()
    stages.perform(fakes.plan(0, 1), ())
    stages.undo()
    before = list(fakes.log)
    assert stages.undo() == []
    assert fakes.log == before


def test_stages_that_are_kept_stay_done_for_good():
    """The life lock, at a clean end, ends with the process and not before."""
    fakes = Fakes()
    stages = fakes.stages()
    stages.perform(fakes.plan(0, 1, 2, 3), ())
    stages.undo(keep=("b",))
    stages.undo()
    assert fakes.log[len(DONE) :] == ["undo 3", "undo 0"]


def test_a_stage_without_an_undo_is_passed_over():
    fakes = Fakes()
    stages = fakes.stages()
    stages.perform(fakes.plan(0, 1, undoable=False), ())
    assert stages.undo() == []
    assert fakes.log == DONE[:4]


def test_nothing_is_undone_of_what_was_forgotten():
    """In a forked child everything is the parent's."""
    fakes = Fakes()
    stages = fakes.stages()
    stages.perform(fakes.plan(0, 1), ())
    stages.forget()
    assert stages.undo() == []
    assert fakes.log == DONE[:4]


def test_it_knows_what_it_has_done():
    fakes = Fakes(failing=1)
    first, second = fakes.stage(0), fakes.stage(1)
    stages = fakes.stages()
    assert not stages.has_done(first.do)
    with pytest.raises(ValueError, match="stage 1"):
        stages.perform(Plan.of(first).then(second), ())
    assert stages.has_done(first.do)
    assert not stages.has_done(second.do)
    stages.undo()
    assert not stages.has_done(first.do)


def test_its_repr_is_a_report_of_its_state():
    fakes = Fakes(failing=1)
    stages = fakes.stages()
    assert repr(stages) == "Stages(not begun; done: none)"
    with pytest.raises(ValueError, match="stage 1"):
        stages.perform(fakes.plan(0, 1), ())
    assert repr(stages) == "Stages(b; done: do)"


def test_the_drawing_has_a_row_for_each_stage_and_each_name_once():
    fakes = Fakes()
    plan = fakes.plan(0, 1).then(fakes.stage(2, undoable=False))
    assert drawing(plan) == (
        "| stage | does | undone, if a later stage fails |\n"
        "| --- | --- | --- |\n"
        "| a | make a number | forget the number |\n"
        "| b | make a number | forget the number |\n"
        "| | make a number | |"
    )


# --- as they are ----------------------------------------------------------------------------------

# Written down a second time, from the promise: what a start names, does, and undoes.
START = [
    ("directories", bootstrap.check_directories, None),
    ("lock", bootstrap.take_locks, bootstrap.release_locks),
    ("lock", bootstrap.open_log, None),
    ("lock", bootstrap.look_at_last_run, None),
    ("config", bootstrap.read_config, None),
    ("config", bootstrap.prepare_process, bootstrap.close_process),
]
READY = [
    ("bind", bootstrap.bind, bootstrap.withdraw),
    ("bind", bootstrap.serve, bootstrap.stop_serving),
    ("setup", announcing.set_up, None),
    ("setup", announcing.announce, None),
]
TAKE_OVER = [
    ("take over", bootstrap.adopt, bootstrap.give_up),
    ("take over", bootstrap.serve, bootstrap.stop_serving),
    ("setup", announcing.set_up, None),
    ("setup", announcing.take_over, None),
    ("setup", announcing.announce, None),
]
IN_PROCESS = [
    ("config", in_process.configure, in_process.close),
    ("setup", in_process.set_up, None),
    ("setup", in_process.connect, in_process.end),
]


@pytest.mark.parametrize(
    ("plan", "promised"),
    [
        (runner.PREPARE, START),
        (runner.BECOME_READY, READY),
        (runner.TAKE_OVER, TAKE_OVER),
        (in_process.SERVE, IN_PROCESS),
    ],
    ids=["prepare", "become ready", "take over", "in process"],
)
def test_a_plan_has_the_stages_that_are_promised(plan, promised):
    assert [tuple(stage) for stage in plan.stages] == promised


@pytest.mark.parametrize("plan", [runner.PREPARE, runner.BECOME_READY, runner.TAKE_OVER, in_process.SERVE])
def test_the_drawing_shows_each_stage_in_words(plan):
    """The documentation shows these tables; a function without a docstring would leave a hole there."""
    rows = [
        re.fullmatch(r"\| ?(.*?) ?\| (.+?) \|(?: (.+?))? \|", row) for row in drawing(plan).splitlines()[2:]
    ]
    assert len(rows) == len(plan.stages)
    names = []
    for row, stage in zip(rows, plan.stages, strict=True):
        assert row is not None
        names.append(row[1] or names[-1])
        assert row[2]
        assert bool(row[3]) is (stage.undo is not None)
    assert names == [stage.name for stage in plan.stages]


def test_a_servers_repr_is_a_report_of_its_state(sandbox):
    """One line, as it is needed in a debugger and in a log."""
    path = str(sandbox.path / "s.sock")
    server = Server(Endpoint.unix(path))
    assert repr(server) == f"<Server at unix:{path}: not listening>"
    server.bind()
    assert repr(server) == f"<Server at unix:{path}: listening>"
    server.cleanup()
    assert repr(server) == f"<Server at unix:{path}: not listening>"
