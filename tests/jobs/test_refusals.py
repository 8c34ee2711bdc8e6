"""What the errors of jobs say: cause and cure, in Python and on the command line."""

import re

import pytest

from daemonry.jobs import KeyTaken, NoSuchJob, NoSuchTask, NotRetryable, QueueFull, UnfitParameters
from daemonry.jobs.interface import JobCalls
from daemonry.jobs.refusal_text import sentence

REFUSALS = {
    NoSuchJob(job=9): "there is no job 9: it was never submitted, or ended .* .`jobs list` shows",
    NoSuchTask(task="ad", known=["add", "sub"]): "there is no task 'ad': did you mean 'add'",
    UnfitParameters(
        task="add", reason="missing 'b'"
    ): "the task 'add' cannot be called like this: missing 'b'",
    KeyTaken(key="{k}", job=3): "the key '.k.' is that of job 3, .* choose another key",
    KeyTaken(
        key="kkk... is longer than 200 characters", job=0
    ): "the key kkk... is longer than .*: choose a shorter one",
    QueueFull(limit=10): "10 jobs have not ended, .* submit it again when some have",
    NotRetryable(job=4, state="succeeded"): "the state of job 4 is succeeded: .* submit it again",
}


@pytest.mark.parametrize(("refusal", "told"), REFUSALS.items(), ids=lambda one: str(one)[:12])
def test_a_refusal_says_its_cause_and_cure(refusal, told):
    assert re.match(f"{type(refusal).__name__}: {told}", str(refusal))


def test_every_declared_refusal_has_a_sentence():
    assert {type(refusal) for refusal in REFUSALS} == set(JobCalls.interface_errors)


def test_a_refusal_of_another_version_keeps_its_fields():
    assert sentence("NoSuchJob", {"number": 3}) == sentence("Unheard", {}) == ""


def test_the_command_line_says_it_too(jobd):
    jobd.start()
    assert jobd.submit("add", key="k", a=1, b=2) == 1
    assert jobd.wait(1)["state"] == "succeeded"
    jobs = jobd.sandbox.daemonry
    for verb in ("show", "cancel", "retry", "wait", "log"):
        refused = jobs("jobs", "jobd", verb, "9")
        assert (refused.code, refused.out) == (1, "")
        assert refused.err.startswith("org.daemonry.Jobs.NoSuchJob: there is no job 9: "), refused
    taken = jobs("jobs", "jobd", "submit", "add", "a:=2", "b:=2", "--key", "k")
    assert taken.err.startswith("org.daemonry.Jobs.KeyTaken: the key 'k' is that of job 1, "), taken
    again = jobs("jobs", "jobd", "retry", "1")
    assert again.err.startswith("org.daemonry.Jobs.NotRetryable: the state of job 1 is succeeded: "), again
    with (
        jobd.client() as client,
        pytest.raises(NoSuchJob, match=r"there is no job 9: .*`jobs list`") as caught,
    ):
        client.proxy(JobCalls).show(9)
    assert (caught.value.job, caught.value.error) == (9, "org.daemonry.Jobs.NoSuchJob")
