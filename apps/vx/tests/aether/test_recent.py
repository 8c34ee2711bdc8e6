"""The latest builds, as the page of aether shows them."""

from vx.aether.interface import BuildEvent
from vx.aether.recent import KEPT, KEPT_ACTIONS, RecentBuilds


def begun(recent, directory="/p"):
    given = []
    build, tell = recent.begin(directory, given.append)
    return build, tell, given


def test_a_build_is_seen_from_its_first_action_to_its_end():
    recent = RecentBuilds()
    _, tell, given = begun(recent)
    tell(BuildEvent("planned", total=2))
    tell(BuildEvent("started", title="one"))
    (shown,) = recent.shown()
    assert (shown["state"], shown["total"], shown["done"]) == ("building", 2, 0)
    assert [action["title"] for action in shown["running"]] == ["one"]
    tell(BuildEvent("ended", title="one", outcome="failed", done=1, duration_ms=5))
    tell(BuildEvent("finished", title="p", text="one failed", total=2, done=1, executed=1))
    (shown,) = recent.shown()
    assert (shown["state"], shown["project"], shown["error"]) == ("failed", "p", "one failed")
    assert shown["running"] == []
    assert shown["failed"] == [{"title": "one", "outcome": "failed", "duration_ms": 5}]
    assert [event.kind for event in given] == ["planned", "started", "ended", "finished"]


def test_one_whose_caller_went_is_cancelled():
    recent = RecentBuilds()
    build, tell, _ = begun(recent)
    tell(BuildEvent("started", title="one"))
    build.over()
    (shown,) = recent.shown()
    assert (shown["state"], shown["running"]) == ("cancelled", [])


def test_the_newest_come_first_and_what_is_kept_is_bounded():
    recent = RecentBuilds()
    for number in range(2 * KEPT):
        begun(recent, f"/p{number}")
    _, tell, _ = begun(recent, "/last")
    for number in range(2 * KEPT_ACTIONS):
        tell(BuildEvent("ended", title=str(number), outcome="executed", done=number))
    shown = recent.shown()
    assert (len(shown), shown[0]["directory"]) == (KEPT, "/last")
    assert [len(shown[0]["ended"]), shown[0]["ended"][0]["title"]] == [
        KEPT_ACTIONS,
        str(2 * KEPT_ACTIONS - 1),
    ]
