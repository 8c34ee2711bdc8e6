"""The table of phases: every phase with every event, against a list written by hand."""

import pytest

from daemonry.daemon.lifecycle import TRANSITIONS, Happened, Phase, step

# Written down a second time, from the promise and not from the table: what is not here is refused.
PROMISED = {
    ("starting", "ready"): "running",
    ("starting", "pause asked"): "paused",
    ("starting", "stop asked"): "draining",
    ("starting", "failed"): "stopped",
    ("running", "pause asked"): "paused",
    ("running", "stop asked"): "draining",
    ("running", "work done"): "draining",
    ("running", "idle"): "draining",
    ("running", "handed over"): "draining",
    ("running", "failed"): "draining",
    ("paused", "ready"): "paused",
    ("paused", "resume asked"): "running",
    ("paused", "stop asked"): "draining",
    ("paused", "work done"): "draining",
    ("paused", "handed over"): "draining",
    ("paused", "failed"): "draining",
    ("draining", "stop asked"): "draining",
    ("draining", "work done"): "draining",
    ("draining", "failed"): "draining",
    ("draining", "drained"): "stopped",
    ("draining", "drain expired"): "stopped",
    ("stopped", "stop asked"): "stopped",
    ("stopped", "work done"): "stopped",
    ("stopped", "failed"): "stopped",
}


@pytest.mark.parametrize("phase", Phase, ids=lambda phase: phase.value)
@pytest.mark.parametrize("happened", Happened, ids=lambda happened: happened.value)
def test_each_event_in_each_phase_leads_where_it_is_promised(phase, happened):
    following = step(phase, happened)
    assert (following and following.value) == PROMISED.get((phase.value, happened.value))


def test_every_phase_has_its_row():
    assert set(TRANSITIONS) == set(Phase)


def test_asking_to_stop_is_never_refused():
    """A stop that came twice, or too late, is what the sender wanted all the same."""
    assert all(step(phase, Happened.STOP_ASKED) is not None for phase in Phase)


def test_nothing_leads_out_of_stopped():
    assert set(TRANSITIONS[Phase.STOPPED].values()) == {Phase.STOPPED}


def test_draining_leads_only_to_stopped():
    """A daemon that has begun to end cannot be talked out of it: its clients have been refused."""
    assert set(TRANSITIONS[Phase.DRAINING].values()) == {Phase.DRAINING, Phase.STOPPED}


def test_every_phase_can_end():
    reached = {Phase.STOPPED}
    while True:
        more = {phase for phase in Phase if reached & set(TRANSITIONS[phase].values())} | reached
        if more == reached:
            break
        reached = more
    assert reached == set(Phase)
