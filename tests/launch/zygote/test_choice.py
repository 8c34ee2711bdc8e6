"""Which starts use a zygote, and which zygote."""

import pytest

from daemonry.launch.zygote import choice

ON = {"DAEMONRY_ZYGOTE": "1"}


@pytest.mark.parametrize(
    ("environment", "own_program", "take_over", "reason"),
    [
        (ON, True, False, ""),
        ({}, True, False, "DAEMONRY_ZYGOTE is not 1"),
        ({"DAEMONRY_ZYGOTE": "0"}, True, False, "DAEMONRY_ZYGOTE is not 1"),
        ({"DAEMONRY_ZYGOTE": "yes"}, True, False, "DAEMONRY_ZYGOTE is not 1"),
        (ON, False, False, "another interpreter, or a packed or frozen program"),
        (ON, True, True, "an upgrade: most often the files have just changed"),
        ({**ON, "DAEMONRY_DEV": "1"}, True, False, "development mode: the files change all the time"),
        ({**ON, "DAEMONRY_DEV": "0"}, True, False, ""),
        (
            {**ON, "COVERAGE_PROCESS_START": "x"},
            True,
            False,
            "coverage.py follows programs from their first line",
        ),
    ],
)
def test_who_uses_one(environment, own_program, take_over, reason):
    assert choice.why_not(environment, own_program=own_program, take_over=take_over) == reason


def test_the_key_is_that_of_everything_in_common_whatever_the_order_of_variables():
    same = [choice.material("python", order, b"limits") for order in ([b"A=1", b"B=2"], [b"B=2", b"A=1"])]
    assert same[0] == same[1]
    others = [
        choice.material("python3", [b"A=1", b"B=2"], b"limits"),
        choice.material("python", [b"A=1", b"B=3"], b"limits"),
        choice.material("python", [b"A=1"], b"limits"),
        choice.material("python", [b"A=1", b"B=2"], b"other limits"),
    ]
    keys = {choice.key_of(one) for one in (same[0], *others)}
    assert len(keys) == 5
    assert all(len(key) == 16 and set(key) <= set("0123456789abcdef") for key in keys)


def test_of_signals_only_those_count_that_python_does_not_set_itself():
    status = b"Name:\tpython\nUmask:\t0022\nSigIgn:\t0000000001001200\nSigCgt:\t0000000000000002\nPid:\t7\n"
    assert choice.passed_on(status) == b"Umask:\t0022\nSigIgn:200"


@pytest.mark.parametrize(
    ("agrees", "changed", "threads", "reason"),
    [
        (True, "", 1, ""),
        (False, "", 1, "other surroundings"),
        (True, "/x.py", 1, "changed: /x.py"),
        (True, "", 2, "2 threads"),
    ],
)
def test_when_a_zygote_refuses(agrees, changed, threads, reason):
    assert choice.refusal(agrees=agrees, changed=changed, threads=threads) == reason
