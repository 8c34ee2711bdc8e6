"""cargo's unit graph, as far as vx knows it."""

from __future__ import annotations

import json

import pytest

from vx.cargo.ask import reason
from vx.cargo.graph import GraphInvalid, PackageId, UnitProfile, decode, package_id
from vx.cargo.plan import profile_of


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("path+file:///src/low#1.0.0", PackageId("low", "1.0.0", "path+file:///src/low")),
        ("path+file:///src/x#low@1.0.0", PackageId("low", "1.0.0", "path+file:///src/x")),
        (
            "registry+https://example.org/index#low@1.0.0+a.b",
            PackageId("low", "1.0.0+a.b", "registry+https://example.org/index"),
        ),
        (
            "git+https://example.org/low?rev=1#1.0.0",
            PackageId("low", "1.0.0", "git+https://example.org/low?rev=1"),
        ),
        ("low 1.0.0 (path+file:///src/low)", PackageId("low", "1.0.0", "path+file:///src/low")),
    ],
)
def test_an_id_of_old_and_new_cargo(text: str, told: PackageId) -> None:
    assert package_id(text) == told


@pytest.mark.parametrize(
    ("graph", "why"),
    [
        ({"version": 2, "units": [], "roots": []}, "has the version 2, and not 1"),
        ({"version": 1, "units": [], "roots": [0]}, "names a unit that is not in it"),
        ({"version": 1, "units": [{}], "roots": []}, "cannot be read"),
        ([], "cannot be read"),
    ],
)
def test_a_graph_of_another_form_is_refused(graph: object, why: str) -> None:
    with pytest.raises(GraphInvalid, match=why):
        decode(json.dumps(graph).encode())


@pytest.mark.parametrize(
    ("strip", "told"),
    [
        ({"deferred": "None"}, "none"),
        ({"resolved": {"Named": "debuginfo"}}, "debuginfo"),
        ("symbols", "symbols"),
    ],
)
def test_how_a_profile_strips(strip: object, told: str) -> None:
    unit = UnitProfile("dev", "0", "false", True, True, False, "unwind", 2, strip=strip)
    assert profile_of(unit).strip == told


def test_what_cargo_complains_of_is_one_line() -> None:
    said = (
        "    Updating index\nerror: no matching package named `x` found\nlocation searched: here\n\n"
        "Caused by:\n  nothing\n"
    )
    assert reason(said) == "no matching package named `x` found; location searched: here; nothing"
    assert reason("") == "nothing"
