"""The page, in Chromium, beside a daemon that is called and commanded by others.

Opt-in: needs Playwright's Python package and a Chromium; axe-core's file is named by DAEMONRY_AXE.
"""

import os
import random
import re
import shutil
from pathlib import Path

import pytest
from tests.http.test_bounds import act, look

from daemonry import Client
from daemonry.testing import wait_until

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
AXE = os.environ.get("DAEMONRY_AXE", "")
SEEN_AFTER_MS = 1000
VIEWS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
    # Playwright's own event loop leaves what its garbage collection finds.
    pytest.mark.filterwarnings("ignore"),
]


class Watched:
    """A page that notes what should not happen."""

    def __init__(self, browser, seen, width=1280, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page = context.new_page()
        self.complaints, self.requests = [], set()
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.add("/".join(request.url.split("/")[:3])))
        self.page.goto(seen.sandbox.daemonry("ui", "seen").out.strip())
        self.state("running")

    def _said(self, message):
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def state(self, state, timeout_ms=10_000):
        self.page.locator(f"#state[data-state={state}]").wait_for(timeout=timeout_ms)

    def evaluate(self, expression):
        """The value of an expression, beside the page's own policy, which allows no `eval`."""
        session = self.page.context.new_cdp_session(self.page)
        asked = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        return session.send("Runtime.evaluate", asked)["result"].get("value")


@pytest.fixture
def browser():
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


def test_the_page_follows_what_others_do(browser, seen):
    watched = Watched(browser, seen)
    page = watched.page
    assert "#code" not in page.url
    seen.sandbox.daemonry("pause", "seen")
    watched.state("paused", SEEN_AFTER_MS)
    seen.sandbox.daemonry("resume", "seen")
    watched.state("running", SEEN_AFTER_MS)
    before = page.locator("#charts svg").first.inner_html()
    for number in range(30):
        seen.call("Add", a=number)
    seen.call("Fail")
    page.locator("#calls .failed", has_text="ValueError: bad thing").wait_for()
    page.locator("#failures summary", has_text="Fail failed").click()
    page.locator("#failures pre", has_text="ValueError: bad thing").wait_for()
    page.locator("#log .level-error").wait_for()
    page.locator("#charts b", has_text=re.compile(r"[1-9][0-9]* at most")).wait_for()
    assert page.locator("#charts svg").first.inner_html() != before
    page.locator("#log-search").fill("ends nowhere")
    page.locator("#log .empty").wait_for()
    page.locator("#log-search").fill("")
    page.locator("#parameters").check()
    seen.call("Add", a=77)
    page.locator("#calls .more", has_text='{"a":77}').wait_for()
    page.reload()
    watched.state("running")
    assert watched.complaints == []
    assert watched.requests == {seen.url}


def test_a_tab_that_slept_comes_back_to_the_present_state(browser, seen):
    """While it sleeps more happens than the daemon keeps for it."""
    watched = Watched(browser, seen)
    session = watched.page.context.new_cdp_session(watched.page)
    session.send("Page.setWebLifecycleState", {"state": "frozen"})
    with Client.connect(seen.instance.endpoint()) as client:
        for number in range(3000):
            client.call("org.example.tries.Add", {"a": number})
    seen.sandbox.daemonry("pause", "seen")
    session.send("Page.setWebLifecycleState", {"state": "active"})
    watched.state("paused")
    seen.sandbox.daemonry("resume", "seen")
    watched.state("running", SEEN_AFTER_MS)
    assert watched.complaints == []


@pytest.mark.timeout(900)
def test_the_page_agrees_with_every_dialect(browser, seen):
    """Act by one at random, the page's own buttons too, and look by all."""
    watched = Watched(browser, seen)
    choose = random.Random(3)
    state = "running"
    for step in range(1000):
        word, by = choose.choice(["pause", "resume"]), choose.choice(["page", "http", "text", "varlink"])
        if by != "page":
            act(seen, word, by)
        elif word != {"paused": "pause", "running": "resume"}[state]:
            watched.page.get_by_role("button", name=word.capitalize(), exact=True).click()
        state = "paused" if word == "pause" else "running"
        watched.state(state)
        assert [look(seen, one) for one in ("http", "text", "varlink")] == [state] * 3, (step, word, by)
    assert watched.complaints == []


def test_the_keyboard_alone_reaches_and_works_everything(browser, seen):
    watched = Watched(browser, seen)
    page = watched.page
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        name = watched.evaluate("document.activeElement.id || document.activeElement.textContent")
        reached.add(name)
        if name == "Pause" and "Pause" in reached and seen.get("/v1/status").json["state"] == "running":
            page.keyboard.press("Enter")
            watched.state("paused")
    assert {
        "Resume",
        "Reload",
        "Stop",
        "parameters",
        "calls",
        "log-level",
        "log-search",
        "log-hold",
        "log",
    } <= reached
    page.get_by_role("button", name="Stop").focus()
    page.keyboard.press("Enter")
    page.locator("#confirm").wait_for()
    page.keyboard.press("Escape")
    assert seen.get("/v1/status").json["state"] == "paused"
    page.get_by_role("button", name="Stop").press("Enter")
    page.locator("#confirm-yes").press("Enter")
    watched.state("gone")
    wait_until(lambda: seen.instance.lock_held() is False, what="the end")


def test_a_tab_without_a_token_says_what_to_do_and_shows_nothing(browser, seen):
    page = browser.new_page()
    page.goto(seen.url)
    page.locator("#connection", has_text="daemonry ui").wait_for()
    assert page.locator("#calls .entry").count() == 0


HOME = """
http = 0
[services.db]
command = ["sleep", "1000"]
[services.web]
command = ["sleep", "1000"]
needs = ["db"]
"""


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_page_of_a_home_shows_and_steers_its_services(browser, sandbox, width, scheme):
    home = sandbox.path / "h"
    home.mkdir()
    (home / "home.toml").write_text(HOME)
    assert sandbox.daemonry("up", "--home", home).code == 0
    page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(sandbox.daemonry("ui", "--home", home).out.strip())
    page.locator("svg.graph text", has_text="web: ready").wait_for()
    page.locator("td", has_text="MiB").nth(1).wait_for()
    page.locator("td", has_text=re.compile(r"^[0-9.]+ %$")).nth(1).wait_for()
    page.locator("#Stop-web").click()
    page.locator("#confirm-yes").click()
    page.locator("svg.graph text", has_text="web: stopped").wait_for()
    page.locator("#Start-web").click()
    page.locator("svg.graph text", has_text="web: ready").wait_for()
    sandbox.daemonry("down", "web", "--home", home)
    page.locator("svg.graph text", has_text="web: stopped").wait_for(timeout=SEEN_AFTER_MS)
    page.locator("#log-service").select_option("*")
    page.locator("#log .entry", has_text="db").first.wait_for()
    assert complaints == []
    session = page.context.new_cdp_session(page)
    wide = session.send("Runtime.evaluate", {"expression": "document.documentElement.scrollWidth"})
    assert wide["result"]["value"] <= width
    assert sandbox.daemonry("down", "--home", home).code == 0


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_axe_finds_nothing_and_nothing_is_wider_than_the_window(browser, seen, width, scheme):
    watched = Watched(browser, seen, width, scheme)
    seen.call("Fail")
    watched.page.locator("#failures details").wait_for()
    watched.page.locator("#log .level-error").first.wait_for()
    assert watched.evaluate("document.documentElement.scrollWidth") <= width
    if not AXE:
        pytest.skip("DAEMONRY_AXE does not name axe-core's file")
    watched.evaluate(Path(AXE).read_text(encoding="utf-8"))
    found = watched.evaluate("axe.run().then(r => r.violations.map(v => `${v.id}: ${v.nodes[0].html}`))")
    assert found == []
