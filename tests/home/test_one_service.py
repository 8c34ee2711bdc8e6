"""Start, stop and restart of one service, of a group, of replicas; and what restarts with what it needs."""

import os
import signal

import pytest

from daemonry.testing import wait_until

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="homes need Linux")


@pytest.fixture
def three(shop, service):
    """`web` needs `cache`, `mail` stands alone in the group `back` with `cache`."""
    return shop.write(
        service("cache", groups='["back"]')
        + service("web", needs='["cache"]')
        + service("mail", groups='["back"]')
    )


def states(shop):
    return {name: one["state"] for name, one in shop.ps().items()}


def test_up_of_one_starts_it_with_what_it_needs_and_nothing_else(three):
    done = three.up("web")
    assert [line.split()[0] for line in done.out.splitlines()] == ["cache", "web", "cache:", "web:"]
    assert states(three) == {"cache": "ready", "web": "ready", "mail": "stopped"}
    assert three.up("mail").out == f"mail: ready (pid {three.pid('mail')})\n"
    pids = {name: three.pid(name) for name in ("cache", "web", "mail")}
    assert three.up("web").code == 0
    assert {name: three.pid(name) for name in pids} == pids


def test_up_of_a_group_starts_its_members_and_a_plain_up_the_rest(three):
    three.up("back")
    assert states(three) == {"cache": "ready", "web": "stopped", "mail": "ready"}
    assert "already up" in three.up().out
    assert set(states(three).values()) == {"ready"}


def test_down_of_one_leaves_what_needs_it_and_tells(three):
    three.up()
    web = three.pid("web")
    done = three.cli("down", "cache")
    assert (done.code, done.out, done.err) == (
        0,
        "cache  stopped\n",
        "web needs cache, and goes on without\n",
    )
    assert (states(three)["cache"], three.pid("web")) == ("stopped", web)
    again = three.cli("down", "cache", "--json")
    assert (again.code, again.json()["needed_by"]) == (0, ["web"])
    assert three.cli("up", "cache").code == 0
    assert states(three)["cache"] == "ready"


def test_restart_of_a_group_restarts_its_members_only(three):
    three.up()
    before = {name: three.pid(name) for name in ("cache", "web", "mail")}
    done = three.cli("restart", "back")
    after = {name: three.pid(name) for name in before}
    assert (done.code, [line.split(":")[0] for line in done.out.splitlines()]) == (0, ["cache", "mail"])
    assert [before[name] == after[name] for name in before] == [False, True, False]


@pytest.mark.parametrize("verb", ["up", "down", "restart"])
def test_a_name_that_is_none_is_told_with_the_nearest(three, verb):
    three.up()
    done = three.cli(verb, "cahce")
    assert (done.code, done.out) == (2, "")
    assert "there is no service 'cahce': did you mean 'cache'?" in done.err
    assert set(states(three).values()) == {"ready"}


def test_a_name_that_is_none_starts_no_supervisor(three):
    assert three.cli("up", "wbe").code == 2
    assert not three.home.is_up()


@pytest.mark.parametrize("how", ["restart", "kill"])
@pytest.mark.slow
def test_what_restarts_with_what_it_needs_is_restarted_when_that_is_ready_again(shop, service, how):
    """By command and after a crash; what stands behind it follows; what does not want it is left alone."""
    shop.write(
        service("a", restart_delay='"10ms"')
        + service("b", needs='["a"]', restart_with="true")
        + service("c", needs='["b"]', restart_with="true")
        + service("d", needs='["a"]')
    )
    shop.up()
    before = {name: shop.pid(name) for name in "abcd"}
    if how == "restart":
        shop.cli("restart", "a")
    else:
        os.kill(before["a"], signal.SIGKILL)
    shop.wait_event("c", "restarted, because b was started again")
    wait_until(lambda: set(states(shop).values()) == {"ready"}, what="all are ready again")
    after = {name: shop.pid(name) for name in "abcd"}
    assert [before[name] == after[name] for name in "abcd"] == [False, False, False, True]
    assert [shop.ps()[name]["restarts"] for name in "bc"] == [0, 0]


def test_replicas_are_services_of_their_own_and_their_table_means_all(shop, service):
    tell = ["sh", "-c", "echo $DAEMONRY_SERVICE $DAEMONRY_REPLICA; exec sleep 600"]
    shop.write(service("web", tell, replicas="3") + service("front", needs='["web"]'))
    shop.up()
    assert shop.written("web-2") == ["web-2 2"]
    assert shop.ps()["front"]["needs"] == ["web-1", "web-2", "web-3"]
    stopped = shop.cli("down", "web").out.splitlines()
    assert sorted(stopped) == ["web-1  stopped", "web-2  stopped", "web-3  stopped"]
    assert states(shop) == {"web-1": "stopped", "web-2": "stopped", "web-3": "stopped", "front": "ready"}
    one = shop.cli("up", "web-3")
    assert (one.code, states(shop)["web-3"], states(shop)["web-1"]) == (0, "ready", "stopped")


def test_a_reload_with_more_replicas_adds_them_and_leaves_the_others(shop, service):
    shop.write(service("web", replicas="2"))
    shop.up()
    first = shop.pid("web-1")
    shop.write(service("web", replicas="3"))
    assert shop.cli("reload").code == 0
    wait_until(lambda: states(shop).get("web-3") == "ready", what="the third is ready")
    shop.write(service("web", replicas="2"))
    shop.cli("reload")
    assert (sorted(states(shop)), shop.pid("web-1")) == (["web-1", "web-2"], first)
