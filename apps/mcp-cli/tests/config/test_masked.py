"""What is shown of settings that may hold a secret."""

from __future__ import annotations

import pytest

from mcp_cli.config import masked


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://user:pw1234@h:8/mcp?token=tok777", "http://user:***@h:8/mcp?token=***"),
        ("postgres://u:pa/ss#w@h/db", "postgres://u:***@h/db"),
        ("https://ghp_abc@github.com/x", "https://***@github.com/x"),
        ("https://h/s/abcdefABCDEF0123456789xx/mcp", "https://h/s/***/mcp"),
        ("https://h/mcp?a=1&b#frag", "https://h/mcp?a=***&***#***"),
        ("https://u:${PW}@h/?k=${K}", "https://u:${PW}@h/?k=${K}"),
        ("https://h/npm/@scope/pkg", "https://h/npm/@scope/pkg"),
        ("https://[::1]:8000/mcp", "https://[::1]:8000/mcp"),
        ("-y @scope/pkg", "-y @scope/pkg"),
        ("see http://a:b@c and http://d", "see http://a:***@c and http://d"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert masked.text(url) == shown


def test_the_value_of_a_telling_option_is_masked() -> None:
    words = ["x", "--api-key", "a", "--token=b", "--port", "8", "--password", "--key", "${K}", "-y"]
    assert masked.command(words) == [
        *("x", "--api-key", "***", "--token=***", "--port", "8", "--password", "--key", "${K}", "-y")
    ]


def test_variables_are_masked_by_their_names_and_headers_all() -> None:
    assert masked.table({"API_KEY": "a", "HOST": "h", "T": "http://a:b@c"}) == {
        "API_KEY": "***",
        "HOST": "h",
        "T": "http://a:***@c",
    }
    assert masked.table({"X": "a", "Y": "Bearer ${T}"}, all_secret=True) == {"X": "***", "Y": "Bearer ${T}"}


def test_what_is_masked_is_what_must_not_be_told_on() -> None:
    found = set(masked.secrets_in("http://user:pw1234@h/s/abcdefABCDEF0123456789xx?token=tok777"))
    assert {"pw1234", "abcdefABCDEF0123456789xx", "tok777"} <= found
