"""What a user may set of the store and of the runner, and what is refused."""

from __future__ import annotations

import os

import pytest

from daemonry import Refused
from vx.cass import settings as cass
from vx.cass.store import MAX_STORE_BYTES
from vx.rhea import settings as rhea


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("4096", 4096), ("64K", 65536), ("500m", 500 << 20), ("20G", 20 << 30), ("1T", 1 << 40)],
)
def test_sizes_are_bytes_or_have_a_unit(text: str, size: int) -> None:
    assert cass.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1", "1.5G", "10 G", "1GB", "\u0661", "0x10", "1k1"])
def test_what_is_no_size_is_refused_by_name(text: str) -> None:
    with pytest.raises(Refused, match="VX_CASS_MAX_SIZE"):
        cass.parse_size(text)


def test_the_stores_bound_is_the_variables_or_the_default() -> None:
    assert cass.max_bytes({}) == cass.max_bytes({"VX_CASS_MAX_SIZE": " "}) == MAX_STORE_BYTES
    assert cass.max_bytes({"VX_CASS_MAX_SIZE": " 1G "}) == 1 << 30


def test_jobs_are_as_many_as_processors_unless_told() -> None:
    assert rhea.job_limit({}) == len(os.sched_getaffinity(0))
    assert rhea.job_limit({"VX_RHEA_JOBS": "7"}) == 7


@pytest.mark.parametrize("text", ["0", "-1", "two", "1025", "1.0", "\u0661"])
def test_what_is_no_number_of_jobs_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="VX_RHEA_JOBS"):
        rhea.job_limit({"VX_RHEA_JOBS": text})
