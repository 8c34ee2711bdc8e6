"""From projects to actions, without running anything."""

from __future__ import annotations

import pytest

from daemonry.typed_toml import parse
from vx.project import c_manifest, c_plan, rust_plan
from vx.project.action import Plan, Tool
from vx.project.c_compilations import Compilations
from vx.project.c_plan import CTools
from vx.project.cargo_manifest import Dependency, Package, Target
from vx.project.errors import ProjectInvalid, Unsupported
from vx.project.features import FeatureOptions
from vx.project.profile import DEFAULTS
from vx.project.rust_compile import RustTools
from vx.project.rust_plan import RustProject

RUST = RustTools(
    Tool("/bin/rustc", "rustc 1 [x]", "rustc 1"),
    Tool("/bin/cc", "cc 1 [y]", "cc"),
    "x86_64-unknown-linux-gnu",
)
C = CTools(Tool("/bin/cc", "cc 1", "cc"), None, Tool("/bin/ar", "ar 1", "ar"), "x86_64-linux-gnu")


def package(name: str, kinds: str, dependencies=(), types=("lib",)) -> Package:
    targets = []
    if "l" in kinds:
        targets.append(Target(name, "lib", "src/lib.rs", types))
    if "b" in kinds:
        targets.append(Target(name, "bin", "src/main.rs", ("bin",)))
    return Package(
        name, "1.0.0", "2021", tuple(targets), tuple(dependencies), {}, (), {"CARGO_PKG_NAME": name}
    )


def project(root: str = "/work", **packages: Package) -> RustProject:
    links = {name: {one.name: one.path for one in of.dependencies} for name, of in packages.items()}
    return RustProject(root, root, packages, links, ("top",), dict(DEFAULTS))


def plan(of: RustProject, profile: str = "dev", flags=()):
    return rust_plan.plan(of, RUST, profile, FeatureOptions(), flags)


TOP = package("top", "b", [Dependency("mid", "mid", "mid")])
MID = package("mid", "l", [Dependency("low", "low", "low")])
LOW = package("low", "l")


def test_each_action_comes_after_those_that_it_needs() -> None:
    actions = plan(project(top=TOP, mid=MID, low=LOW)).actions
    assert [one.title for one in actions] == ["low (lib)", "mid (lib)", "top (bin top)"]
    assert [need.action for need in actions[2].needs] == [actions[0].id, actions[1].id]


def test_another_root_gives_the_same_recipes() -> None:
    here, there = (
        plan(project(root, top=TOP, mid=MID, low=LOW)).actions for root in ("/work", "/else/where")
    )
    assert [(one.id, one.arguments, one.parts, one.outputs) for one in here] == [
        (one.id, one.arguments, one.parts, one.outputs) for one in there
    ]
    assert not any("/work" in word for one in here for word in (*one.arguments, *one.parts.values()))


def test_where_the_tools_are_is_no_part() -> None:
    (action,) = plan(project(top=package("top", "b"))).actions
    assert action.command()[0] == "/bin/rustc"
    assert "linker=/bin/cc" in action.command()
    assert not any("/bin/" in text for text in (*action.parts.values(), *action.arguments))


def test_flags_and_profiles_are_parts() -> None:
    of = project(top=package("top", "b"))
    parts = [
        plan(of).actions[0].parts,
        plan(of, "release").actions[0].parts,
        plan(of, flags=["-Cx=y"]).actions[0].parts,
    ]
    assert len({tuple(one.items()) for one in parts}) == 3
    assert parts[2]["flags"] == "-Cx=y"


def test_a_circle_is_told() -> None:
    first = package("top", "l", [Dependency("mid", "mid", "mid")])
    second = package("mid", "l", [Dependency("top", "top", "top")])
    with pytest.raises(ProjectInvalid, match="top -> mid -> top"):
        plan(project(top=first, mid=second))


def test_a_library_for_other_languages_is_no_dependency() -> None:
    with pytest.raises(Unsupported, match="type cdylib"):
        plan(project(top=TOP, mid=package("mid", "l", types=("cdylib",))))


def c_project(text: str, sources):
    manifest = c_manifest.read(parse('[project]\nname = "p"\n' + text, "vx.toml"))
    return c_plan.plan(manifest, "/work", sources, C, "dev")


def test_libraries_are_linked_behind_what_needs_them() -> None:
    text = (
        '[targets.low]\nkind = "static-library"\nsources = ["l.c"]\n'
        '[targets.mid]\nkind = "static-library"\nsources = ["m.c"]\nneeds = ["low"]\n'
        '[targets.top]\nsources = ["t.c"]\nneeds = ["low", "mid"]\n'
    )
    actions = c_project(text, {"low": ["l.c"], "mid": ["m.c"], "top": ["t.c"]}).actions
    assert [path.rpartition("/")[2] for path in actions[-1].arguments[3:]] == ["libmid.a", "liblow.a"]
    assert [one.title for one in actions] == ["l.c", "liblow.a", "m.c", "libmid.a", "t.c", "top (program)"]


def test_sources_of_one_name_do_not_collide() -> None:
    actions = c_project('[targets.x]\nsources = ["**/*.c"]\n', {"x": ["a/m.c", "b/m.c"]}).actions
    paths = [need.path for need in actions[-1].needs]
    assert len(set(paths)) == 2


@pytest.mark.parametrize(
    ("change", "flags"),
    [
        ("", ("-O1",)),
        ('defines = ["X=2"]\n', ()),
        ('include = ["inc"]\n', ()),
        ('file-flags = { "a.c" = ["-O3"] }\n', ()),
        ("", ()),
    ],
)
def test_a_plan_beside_an_earlier_one_is_the_plan_without_it(change: str, flags: tuple[str, ...]) -> None:
    def planned(text: str, flags: tuple[str, ...], earlier: Compilations | None) -> Plan:
        manifest = c_manifest.read(parse('[project]\nname = "p"\n[targets.x]\n' + text, "vx.toml"))
        sources = {"x": ["a.c", "b.c"]}
        return c_plan.plan(manifest, "/w", sources, C, "dev", c_plan.Flags(flags), earlier=earlier)

    earlier = Compilations()
    text = 'sources = ["*.c"]\n'
    before = planned(text, (), earlier)
    after = planned(text + change, flags, earlier)
    assert after == planned(text + change, flags, None)
    assert (after == before) is not bool(change or flags)
    is_same = not flags and (not change or "file-flags" in change)
    assert (after.actions[1] is before.actions[1]) is is_same


def test_cxx_without_its_compiler() -> None:
    with pytest.raises(Unsupported, match="install g"):
        c_project('[targets.x]\nsources = ["x.cpp"]\n', {"x": ["x.cpp"]})


def test_targets_in_a_circle() -> None:
    text = "".join(
        f'[targets.{one}]\nkind = "shared-library"\nsources = ["x.c"]\nneeds = ["{other}"]\n'
        for one, other in ("ab", "ba")
    )
    with pytest.raises(ProjectInvalid, match="a -> b -> a"):
        c_project(text, {"a": ["x.c"], "b": ["x.c"]})
