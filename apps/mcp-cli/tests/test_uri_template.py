"""Which URIs a template can make."""

from __future__ import annotations

import time

import pytest

from mcp_cli.uri_template import matches


@pytest.mark.parametrize(
    ("template", "uri", "fits"),
    [
        ("res://t/{name}/x{?q}", "res://t/me/x?q=1", True),
        ("res://t/{name}/x{?q}", "res://t/me/x", True),
        ("res://t/{name}/x", "res://t/a/b/x", False),
        ("res://t/{name}", "res://t/", False),
        ("file:///{+path}", "file:///a/b.txt", True),
        ("db://{table}{/row,column}", "db://users/7/name", True),
        ("db://{table}{/row,column}", "db://users/7/name/more", False),
        ("db://{table}{/rest*}", "db://users/7/name/more", True),
        ("a.b://{x}", "aXb://y", False),
        ("demo://{broken", "demo://x", False),
    ],
)
def test_a_template_fits_what_it_can_make(template: str, uri: str, fits: bool) -> None:
    assert matches(template, uri) is fits


def test_a_hostile_template_takes_no_time() -> None:
    began = time.monotonic()
    matches("{+a}" * 20 + "x", "y" * 4096)
    matches("{a}" * 1000, "y" * 100)
    assert time.monotonic() - began < 1
