"""Control groups of services, in a tree of plain files that stands for the kernel's."""

import os
import sys

import pytest

from daemonry.home.run import service_cgroup
from daemonry.home.run.resource_use import Limits
from daemonry.home.run.service_cgroup import delegated

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")


class Tree:
    """A cgroup v2 tree with the group of one supervisor, as systemd gives it."""

    def __init__(self, path, monkeypatch):
        self.root = path / "cgroup"
        self.path = self.root / "user.slice/home.service"
        self.own = path / "own"
        self.mark = b"1"
        self.make(self.path)
        (self.path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
        (self.path / "cgroup.procs").write_text(f"{os.getpid()}\n")
        self.own.write_text("4:memory:/elsewhere\n0::/user.slice/home.service\n")
        makedirs = os.makedirs

        def made(path, exist_ok=False):
            makedirs(path, exist_ok=exist_ok)
            self.make(path)  # the kernel fills each group

        monkeypatch.setattr(service_cgroup.os, "makedirs", made)
        monkeypatch.setattr(service_cgroup.os, "getxattr", self.getxattr)

    def getxattr(self, path, name):
        assert (os.fspath(path), name) == (str(self.path), "user.delegate")
        if self.mark is None:
            raise OSError(61, "No data available")
        return self.mark

    def make(self, path):
        os.makedirs(path, exist_ok=True) if not os.path.isdir(path) else None
        for name in ("cgroup.procs", "cgroup.subtree_control", "memory.max", "memory.oom.group", "cpu.max"):
            file = os.path.join(path, name)
            if not os.path.exists(file):
                open(file, "w").close()
        with open(os.path.join(path, "memory.events"), "w") as file:
            file.write("low 0\noom 0\noom_kill 0\n")

    def delegated(self):
        return delegated(str(self.root), str(self.own))

    def text(self, name):
        return (self.path / name).read_text()


@pytest.fixture
def tree(tmp_path, monkeypatch):
    return Tree(tmp_path, monkeypatch)


def test_a_service_is_moved_into_a_group_with_its_limits_and_the_supervisor_beside_it(tree):
    group = tree.delegated().limit("web", os.getpid(), 64 << 20, 0.5)
    assert group is not None
    assert tree.text("supervisor/cgroup.procs") == str(os.getpid())
    assert tree.text("cgroup.subtree_control") == "+cpu +memory"
    assert tree.text("service-web/memory.max") == str(64 << 20)
    assert tree.text("service-web/memory.oom.group") == "1"
    assert tree.text("service-web/cpu.max") == "50000 100000"
    assert tree.text("service-web/cgroup.procs").startswith(str(os.getpid()))


def test_what_the_kernel_has_ended_is_told_with_the_reason(tree):
    limits = Limits(os.getpid(), 64 << 20, 0.0, tree.delegated().limit("web", os.getpid(), 64 << 20, 0.0))
    assert limits.exceeded() == ""
    (tree.path / "service-web/memory.events").write_text("low 0\noom 1\noom_kill 3\n")
    told = "took more memory than it may, 64.0 MiB: the kernel has ended it"
    assert (limits.exceeded(), limits.ended(None)) == (told, told)
    assert tree.text("service-web/cpu.max") == ""


@pytest.mark.parametrize(
    "spoil",
    [
        lambda tree: setattr(tree, "mark", None),
        lambda tree: setattr(tree, "mark", b"0"),
        lambda tree: (tree.path / "cgroup.controllers").write_text("pids\n"),
        lambda tree: tree.own.write_text("4:memory:/elsewhere\n"),
        lambda tree: tree.own.unlink(),
    ],
    ids=["not delegated", "delegation taken back", "controllers missing", "no cgroup v2", "no procfs"],
)
def test_a_group_that_is_not_ours_to_divide_is_left_alone(tree, spoil):
    spoil(tree)
    assert tree.delegated() is None


def test_one_that_cannot_be_divided_leaves_the_service_to_the_looks(tree, caplog):
    given = tree.delegated()
    (tree.path / "cgroup.subtree_control").unlink()
    (tree.path / "cgroup.subtree_control").mkdir()  # as a write that the kernel refuses
    assert given.limit("web", os.getpid(), 1, 0.0) is None
    assert "web has no control group" in caplog.text


def test_a_supervisor_that_was_moved_already_finds_the_same_group(tree):
    tree.delegated().limit("web", os.getpid(), 1, 0.0)
    tree.own.write_text("0::/user.slice/home.service/supervisor\n")
    assert tree.delegated().limit("web", os.getpid(), 2, 0.0) is not None
    assert tree.text("service-web/memory.max") == "2"
