"""A reload applies the difference and nothing else."""

import signal

from daemonry.testing import wait_until

OTHER = ["sh", "-c", "echo other; exec sleep 600"]


def test_only_what_has_changed_is_touched(shop, service):
    shop.write(service("same") + service("changed") + service("gone") + service("tuned"))
    shop.up()
    before = shop.ps()
    shop.write(
        service("same")
        + service("changed", OTHER)
        + service("tuned", restart='"never"')
        + service("new", needs='["same"]')
    )
    done = shop.cli("reload")
    assert done.out == "shop: reloaded (added new; removed gone; restarted changed; adjusted tuned)\n"
    after = wait_until(lambda: all(one["state"] == "ready" for one in shop.ps().values()) and shop.ps())
    assert list(after) == ["same", "changed", "tuned", "new"]
    assert after["same"]["pid"] == before["same"]["pid"]
    assert after["tuned"]["pid"] == before["tuned"]["pid"]
    assert after["changed"]["pid"] != before["changed"]["pid"]
    assert shop.written("changed")[-1] == "other"
    assert shop.cli("reload").out == "shop: reloaded (nothing changed)\n"


def test_up_says_that_the_file_has_changed_since_it_was_read(shop, service):
    """Who knows other supervisors expects `up` to apply it; "already up" was all that it said."""
    shop.write(service("a"))
    shop.up()
    assert shop.cli("up").err == ""
    shop.write(service("a") + service("b"))
    told = f"shop: home.toml has changed since it was read; to apply it: daemonry reload --home {shop.path}\n"
    again = shop.cli("up")
    assert (again.code, again.err) == (0, told)
    shop.write("nonsense")
    assert shop.cli("reload").code == 1
    assert shop.cli("up").err == told, "what could not be read is not in force"
    shop.write(service("a"))
    shop.cli("reload")
    assert shop.cli("up").err == ""


def test_what_was_tuned_counts_from_now_on(shop, service):
    shop.write(service("a", restart='"always"'))
    shop.up()
    shop.write(service("a", restart='"never"'))
    shop.cli("reload")
    import os

    os.kill(shop.pid("a"), signal.SIGKILL)
    wait_until(lambda: shop.ps()["a"]["state"] == "failed")


def test_a_file_that_cannot_be_used_changes_nothing(shop, service):
    shop.write(service("a"))
    shop.up()
    before = shop.ps()
    shop.write(service("a", ["none-such"]))
    done = shop.cli("reload")
    assert done.code == 1
    assert done.err.startswith(f"{shop.path}/home.toml:3:1: services.a.command: 'none-such' is in none of")
    assert shop.ps() == before


def test_a_file_that_is_gone_keeps_no_command_from_a_home_that_is_up(shop, service):
    """`up` and `reload` want it and change nothing; the others ask the supervisor."""
    says = ["sh", "-c", "echo here; exec sleep 600"]
    shop.write(service("a", says, groups='["g"]', ready='{ output = "here" }') + service("b"))
    shop.up()
    before = shop.ps()
    (shop.path / "home.toml").rename(shop.path / "away")
    gone = f"{shop.path}/home.toml: there is no such file: name a home with --home DIR\n"
    for words in (("up",), ("up", "a"), ("reload",)):
        done = shop.cli(*words)
        assert (done.code, done.out, done.err) == (1, "", gone), words
    assert {name: one["pid"] for name, one in shop.ps().items()} == {
        name: one["pid"] for name, one in before.items()
    }
    for words in (("logs",), ("logs", "a"), ("logs", "g")):
        done = shop.cli(*words)
        assert (done.code, " here\n" in done.out) == (0, True), done
    assert shop.cli("restart", "a").code == 0
    assert shop.pid("a") != before["a"]["pid"]
    assert shop.cli("down", "b").code == 0
    assert shop.ps()["b"]["state"] == "stopped"
    assert shop.down().out == "a  stopped\nshop: down\n"
    for verb in ("down", "ps", "logs"):
        done = shop.cli(verb)
        assert (done.code, done.out, done.err) == (1, "", gone), verb


def test_sighup_reloads_and_tells_in_the_log(shop, service):
    shop.write(service("a"))
    shop.up()
    shop.write("nonsense")
    shop.kill_supervisor(signal.SIGHUP)
    shop.wait_event("home", "not reloaded: ")
    shop.write(service("a") + service("b"))
    shop.kill_supervisor(signal.SIGHUP)
    shop.wait_event("home", "reloaded: added b")
    wait_until(lambda: shop.ps()["b"]["state"] == "ready")


def test_services_that_are_removed_stop_in_reverse_order(shop, service):
    slow = [
        "sh",
        "-c",
        "trap 'sleep 0.2; echo $0 >> order; exit' TERM; echo up; while :; do sleep 0.01; done",
    ]
    ready = '{ output = "up" }'
    shop.write(
        service("keep")
        + service("a", [*slow, "a"], ready=ready)
        + service("b", [*slow, "b"], ready=ready, needs='["a"]')
    )
    shop.up()
    shop.write(service("keep"))
    shop.cli("reload")
    assert (shop.path / "order").read_text().split() == ["b", "a"]


def test_the_text_dialect_reloads_and_tells_the_state(shop, service):
    """Whoever can write a line can ask."""
    import socket

    def ask(word):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(shop.path / "home.sock"))
            client.sendall(word + b"\n")
            return client.makefile().readline()

    shop.write(service("a"))
    shop.up()
    assert '"services":1' in ask(b"STATUS").replace(" ", "")
    assert ask(b"RELOAD") == "OK: nothing changed\n"
    assert ask(b"PAUSE").startswith("ERR: a home is not paused")
    assert ask(b"STOP") == "OK\n"
    shop.wait_free()
