"""What another build system's commands say of links."""

from __future__ import annotations

import pytest

from vx.project.c_links import LinkCommands, LinkedWith, linked, links_of

AR = (
    ": && /usr/bin/cmake -E rm -f lib/libx.a && /usr/bin/ar qc lib/libx.a a.dir/1.o a.dir/2.o"
    " && /usr/bin/ranlib lib/libx.a && :"
)


def of(*commands: str) -> LinkCommands:
    return links_of([("/b", one) for one in commands], lambda path: path.partition(".dir/")[0])


def rows(target: str, links: LinkCommands, *libraries: str) -> LinkedWith:
    return linked(target, links.of[target], links.made, libraries)


def test_which_command_makes_which_target() -> None:
    links = of(
        "cc -c 1.c -o a.dir/1.o",
        AR,
        ": && cc -shared -Wl,-soname,liby.so.2 -o liby.so.2.0 b.dir/1.o && :",
        "cc c.dir/m.o -o bin/prog",
        "cmake -E create_symlink liby.so.2.0 liby.so",
    )
    assert {name: (one.archives, one.shares, one.output) for name, one in links.of.items()} == {
        "a": (True, False, "/b/lib/libx.a"),
        "b": (False, True, "/b/liby.so.2.0"),
        "c": (False, False, "/b/bin/prog"),
    }
    assert links.made == {"/b/lib/libx.a": "a", "/b/liby.so": "b", "/b/bin/prog": "c"}


@pytest.mark.parametrize("word", ["liby.so", "/b/liby.so.2", "x/../liby.so.2.0"])
def test_a_library_is_known_by_its_file_whatever_version_is_named(word: str) -> None:
    links = of(AR, "cc -shared -o liby.so.2.0 b.dir/1.o", f"cc c.dir/m.o -o p {word} lib/libx.a -lm")
    assert rows("c", links, "a", "b") == LinkedWith(needs=["b", "a"], flags=["-lm"])


def test_objects_of_a_target_that_is_no_library_are_needed() -> None:
    """An OBJECT library of CMake's; where all objects are of others, the output's name tells whose it is."""
    links = of("cc m.dir/m.o o.dir/1.o o.dir/2.o o.dir/3.o -o m")
    assert list(links.of) == ["m"]
    assert rows("m", links, "o") == LinkedWith(needs=["o"])


def test_two_links_of_the_same_objects_are_one_targets_and_nobodys() -> None:
    links = of("ar rcs libo.a o.dir/1.o", "cc -shared -o libo.so o.dir/1.o")
    assert (list(links.of), links.of["o"].archives) == (["o"], True)


def test_words_for_the_linker() -> None:
    links = of(
        "cc -O2 m.dir/m.o -o m -Wl,-rpath,/b: -Wl,-soname,x -pthread -L/opt/l -lz -lz -Wl,--as-needed"
        " -Wl,--start-group /usr/lib/x86_64-linux-gnu/libssl.so /usr/lib/libq.so.1.2 /lib/libm.a"
        " -Wl,--end-group"
        " -Wl,--version-script,/p/v.map other/libw.a -Xlinker -q -framework Cocoa"
    )
    assert rows("m", links) == LinkedWith(
        flags=["-pthread", "-L/opt/l", "-lz", "-Wl,--as-needed", "-lssl", "-lq", "-l:libm.a"],
        version_scripts=["/p/v.map"],
        left=["other/libw.a", "-Xlinker -q", "-framework Cocoa"],
    )


@pytest.mark.parametrize("command", ["", " && ", "cc 'open m.o -o m", "cc m.o", "cc m.o -o", "echo m.o"])
def test_what_is_no_link(command: str) -> None:
    assert of(command) == LinkCommands({}, {})
