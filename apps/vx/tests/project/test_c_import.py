"""What becomes of the words of a compile_commands.json."""

from __future__ import annotations

from daemonry.typed_toml import parse
from vx.project import c_import, c_manifest
from vx.project.c_import import Entry, Imported


def imported(*entries: Entry, mains: tuple[str, ...] = (), links: tuple[str, ...] = ()) -> Imported:
    return c_import.imported(entries, "/p", "p", mains.__contains__, lambda _build, _targets: links)


def read(found: Imported) -> c_manifest.CManifest:
    return c_manifest.read(parse(found.text, "/p/vx.toml"))


def test_what_sources_have_in_common_is_the_targets_and_the_rest_a_files() -> None:
    common = r"ccache /usr/bin/cc -I../inc -isystem /usr/include/x -DA=\"q\" -Wall -O2 -g"
    found = imported(
        Entry("/p/build", "../a.c", f"{common} -MD -MF a.d -o a.o -c ../a.c"),
        Entry("/p/build", "/p/b.c", f"{common} -DB -Wextra -o b.o -c /p/b.c"),
        mains=("b.c",),
    )
    (target,) = read(found).targets.values()
    assert (target.name, target.kind) == ("p", "program")
    assert (target.sources, target.include) == (("a.c", "b.c"), ("inc", "/usr/include/x"))
    assert (target.defines, target.flags) == (('A="q"',), ("-Wall",))
    assert target.file_flags == {"b.c": ("-DB", "-Wextra")}
    assert found.notes == ["p: compile_commands.json does not tell what it links with: see needs, link-flags"]


def test_what_a_manifest_cannot_say_is_a_note() -> None:
    found = imported(
        Entry("/p", "a.c", "cc -fplugin=x.so -I/home/u/inc -include /etc/x.h -c a.c"),
        Entry("/p", "/elsewhere/b.c", "cc -c /elsewhere/b.c"),
        Entry("/p", "c.f90", "gfortran -c c.f90"),
    )
    assert found.notes == [
        "the option -fplugin=x.so left out",
        "the include folder /home/u/inc left out: neither below the project nor the system's",
        "a.c: -include of a file that is not below /p, left out",
        "/elsewhere/b.c: left out, it is not below /p",
        "c.f90: left out, no source that vx compiles",
    ]
    assert read(found).targets["p"].kind == "static-library"


def test_the_folders_of_objects_tell_the_targets() -> None:
    found = imported(
        Entry("/p/b", "/p/a.c", "cc -Dfoo_EXPORTS -fPIC -o CMakeFiles/foo.dir/a.c.o -c /p/a.c"),
        Entry("/p/b", "/p/m.c", "cc -o CMakeFiles/prog.dir/m.c.o -c /p/m.c"),
        mains=("m.c",),
        links=(
            "cc -shared -o libfoo.so CMakeFiles/foo.dir/a.c.o",
            "cc CMakeFiles/prog.dir/m.c.o -o prog -Wl,-rpath,/p/b libfoo.so -lm -Wl,-Map=out",
        ),
    )
    targets = read(found).targets
    assert (targets["foo"].kind, targets["foo"].defines) == ("shared-library", ("foo_EXPORTS",))
    assert (targets["prog"].needs, targets["prog"].link_flags) == (("foo",), ("-lm",))
    assert "prog: the option -Wl,-Map=out for the linker left out" in found.notes
    meson = imported(Entry("/p/b", "../a.c", arguments=["cc", "-o", "libz.so.1.2.p/a.c.o", "-c", "../a.c"]))
    assert read(meson).targets["z"].kind == "shared-library"
