"""What a build script says, and what follows: by calls, without running one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vx.cargo import script
from vx.cargo.script import ScriptRun, completed, marked, parse, reads
from vx.project.action import Action, ScriptUse, Tool, Tree

OUT = ".vx/scripts/a/out"


def action(kind="rustc", scripts=(), cwd="", **fields) -> Action:
    tool = Tool("/bin/rustc", "x", "rustc")
    return Action(
        "a", "a", tool, kind, ("in.rs",), {}, ("out",), sources=Tree(cwd), cwd=cwd, scripts=scripts, **fields
    )


def use(role="own", places=("libraries", "links", "bin", "bin:a"), links="") -> ScriptUse:
    return ScriptUse("run", role, OUT, links, places)


@pytest.mark.parametrize("colons", [":", "::"])
def test_each_word_has_its_effect(colons: str) -> None:
    text = "".join(
        f"cargo{colons}{line}\n"
        for line in (
            "rustc-cfg=a",
            'rustc-cfg=b="c"',
            "rustc-check-cfg=cfg(a)",
            "rustc-env=NAME=va=lue",
            "rustc-link-lib=static=z",
            "rustc-link-search=native=/z",
            "rustc-flags=-l y -L/y",
            "rustc-link-arg=-x",
            "rustc-link-arg-bins=-y",
            "rustc-link-arg-bin=other=-no",
            "rustc-link-arg-bin=a=-yes",
            "rustc-link-arg-tests=-no",
        )
    )
    done = completed(action(scripts=(use(),)), {"run": ScriptRun(parse(text), ())})
    assert " ".join(done.arguments) == (
        'in.rs -L native=/z -L /y --cfg a --cfg b="c" --check-cfg cfg(a) -l static=z -l y'
        " -C link-arg=-x -C link-arg=-y -C link-arg=-yes"
    )
    assert done.env == {"NAME": "va=lue", "OUT_DIR": f"%{{root}}/{OUT}"}
    assert done.libraries == ("/z", "/y")
    assert done.linked == ("z", "y")


def test_who_is_linked_with_a_package_gets_its_folders_and_no_more() -> None:
    told = parse(
        f"cargo::rustc-link-search=native=%{{root}}/{OUT}\ncargo::rustc-cfg=a\ncargo::rustc-env=A=b\n"
    )
    ran = {"run": ScriptRun(told, (f"{OUT}/libz.a",))}
    done = completed(action(scripts=(use("linked"),)), ran)
    assert done.arguments == ("in.rs", "-L", f"native=%{{root}}/{OUT}")
    assert not done.env
    assert [need.path for need in done.needs] == [f"{OUT}/libz.a"]
    assert done.after == ["run", "run"]


def test_metadata_goes_to_scripts_of_direct_dependents_and_is_part_of_their_key() -> None:
    told = parse("cargo:Root-Dir=/x\ncargo::metadata=b=c\n")
    done = completed(action("script", (use("metadata", links="my-z"),)), {"run": ScriptRun(told, ())})
    assert done.env == {"DEP_MY_Z_ROOT_DIR": "/x", "DEP_MY_Z_B": "c"}
    assert done.parts == {"variables of scripts": "DEP_MY_Z_B=c\nDEP_MY_Z_ROOT_DIR=/x"}


def test_of_one_colon_unknown_words_are_metadata_and_of_two_they_are_errors() -> None:
    assert parse("cargo:speed=1").metadata == {"speed": "1"}
    told = parse("cargo::speed=1")
    assert told.failed
    assert "cargo::speed is not known" in script.shown(told, action(), "", failed=False)


def test_where_a_script_ran_is_no_part_of_its_words() -> None:
    said = "noise\ncargo:rustc-env=A=/tmp/x1/root/here\ncargo:rerun-if-changed=/tmp/x1/root/p/a.txt"
    words = marked(said, "/tmp/x1/root")
    assert words.count("\n") == 2
    told = parse(words)
    assert told.env == {"A": "%{root}/here"}
    assert reads(told, action("script", cwd="p")) == ["p/a.txt"]


def test_a_script_that_names_only_a_variable_depends_on_no_file() -> None:
    told = parse("cargo:rerun-if-env-changed=A")
    assert reads(told, action("script", cwd="p")) == []
    assert reads(parse(""), action("script", cwd="p")) == ["p"]


@given(
    st.lists(
        st.sampled_from(["cargo:", "cargo::", "rustc-", "env", "flags", "=", "-l", "-L", " ", "é", "\0"])
    )
)
def test_any_words_are_understood_or_passed_over(pieces: list[str]) -> None:
    told = parse("".join(pieces) + "\ncargo::warning=last")
    assert told.warnings[-1:] == ("last",)
    done = completed(action(scripts=(use(),)), {"run": ScriptRun(told, ())})
    assert done.arguments[0] == "in.rs"
