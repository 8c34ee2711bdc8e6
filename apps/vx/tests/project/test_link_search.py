"""Where a linker looks."""

from __future__ import annotations

from vx.project.link_search import files_named, files_of, folders_named, libraries_named, vain


def test_folders_in_their_order_less_those_of_the_project() -> None:
    words = ["-L/b", "-L", "native=/a", "-Ldependency=/c", "-Llib", "-l", "-L"]
    assert folders_named(words) == ["/b", "/a", "/c"]


def test_libraries_without_their_kinds() -> None:
    assert libraries_named(["-lz", "-l", "static=foo", "-ldylib:+verbatim=bar"]) == ["z", "foo", "bar"]


def test_files_that_options_name() -> None:
    words = [
        "@/a/args",
        "-fprofile-use=/p.gcda",
        "-Wl,-T,/x/../l.ld",
        "--extern",
        "n=/lib.rlib",
        "-O2",
        "a/b",
    ]
    assert files_named(words) == ["/a/args", "/p.gcda", "/l.ld", "/lib.rlib"]


def test_all_places_of_a_library() -> None:
    assert files_of("z", ["/a", "/b/"]) == [
        *("/a/libz.a", "/a/libz.so", "/a/z", "/b/libz.a", "/b/libz.so", "/b/z"),
    ]


def test_a_new_file_in_an_earlier_folder_would_be_read() -> None:
    assert vain(["/b/crt1.o", "/else/x.o"], ["/a", "/b", "/c"]) == {"/a/crt1.o"}
    assert vain(["/b/libz.so"], ["/a", "/b"]) == {"/a/libz.so", "/a/libz.a"}


def test_a_shared_library_beside_a_static_one_would_be_read() -> None:
    assert vain(["/a/libz.a"], ["/a"]) == {"/a/libz.so"}
    assert vain(["/a/libz.a", "/a/libz.so"], ["/a"]) == set()
