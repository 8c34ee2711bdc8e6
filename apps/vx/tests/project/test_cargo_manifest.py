"""What a Cargo.toml means: by calls, without a disk."""

from __future__ import annotations

import pytest

from daemonry.typed_toml import parse
from vx.project import cargo_manifest
from vx.project.errors import ProjectInvalid, Unsupported
from vx.project.profile import rustc_options


def package(text: str, files=("src/main.rs",), workspace=None):
    manifest = cargo_manifest.read(parse(text, "Cargo.toml"))
    return cargo_manifest.package(manifest, set(files), workspace)


def test_targets_by_their_places() -> None:
    found = package(
        '[package]\nname = "a-b"\n',
        ("src/lib.rs", "src/main.rs", "src/bin/one.rs", "src/bin/two/main.rs"),
    )
    assert [(one.name, one.kind, one.path) for one in found.targets] == [
        ("a_b", "lib", "src/lib.rs"),
        ("a-b", "bin", "src/main.rs"),
        ("one", "bin", "src/bin/one.rs"),
        ("two", "bin", "src/bin/two/main.rs"),
    ]
    assert found.edition == "2015"


def test_listed_programs_come_before_found_ones_and_once() -> None:
    found = package(
        '[package]\nname = "a"\n[[bin]]\nname = "b"\npath = "src/main.rs"\n'
        'required-features = ["x"]\n[features]\nx = []\n',
        ("src/main.rs", "src/bin/c.rs"),
    )
    assert [(one.name, one.path) for one in found.targets] == [("b", "src/main.rs"), ("c", "src/bin/c.rs")]
    assert found.targets[0].required_features == ("x",)


def test_autobins_can_be_left_out() -> None:
    with pytest.raises(ProjectInvalid, match="no targets"):
        package('[package]\nname = "a"\nautobins = false\n')


def test_the_environment_is_cargos() -> None:
    env = package('[package]\nname = "a"\nversion = "1.2.3-rc.1+x"\nauthors = ["A", "B"]\n').env
    assert env["CARGO_PKG_VERSION"] == "1.2.3-rc.1+x"
    assert [env[f"CARGO_PKG_VERSION_{name}"] for name in ("MAJOR", "MINOR", "PATCH", "PRE")] == [
        "1",
        "2",
        "3",
        "rc.1",
    ]
    assert env["CARGO_PKG_AUTHORS"] == "A:B"


def test_fields_and_dependencies_are_inherited() -> None:
    workspace = cargo_manifest.read(
        parse(
            '[workspace]\nmembers = ["*"]\n[workspace.package]\nedition = "2021"\n'
            '[workspace.dependencies]\nlow = { path = "low", features = ["a"] }\n',
            "Cargo.toml",
        )
    ).workspace
    found = package(
        '[package]\nname = "a"\nedition.workspace = true\n[dependencies]\n'
        'low = { workspace = true, features = ["b"] }\n',
        workspace=workspace,
    )
    (low,) = found.dependencies
    assert found.edition == "2021"
    assert (low.path, low.from_workspace, low.features) == ("low", True, ("a", "b"))


def test_lints_come_in_the_order_in_which_the_last_one_counts() -> None:
    found = package(
        '[package]\nname = "a"\n[lints.rust]\nunused = { level = "warn", priority = -1 }\n'
        'dead_code = "allow"\n'
        '[lints.clippy]\nall = "warn"\n'
    )
    assert found.lints == ("--warn=unused", "--allow=dead_code")


@pytest.mark.parametrize(
    ("text", "what", "place"),
    [
        ('[package]\nname = "a"\nlinks = "z"\n', "package.links", "3:1"),
        ('[package]\nname = "a"\nbuild = "make.rs"\n', "the build script make.rs", "3:1"),
        (
            '[package]\nname = "a"\n[dependencies]\nx = { version = "1", registry = "mine" }\n',
            "the registry dependency x",
            "4:1",
        ),
        (
            '[package]\nname = "a"\n[dependencies]\nx = { path = "x", artifact = "bin" }\n',
            "the dependency x's artifact",
            "4:19",
        ),
        ('cargo-features = ["x"]\n[package]\nname = "a"\n', "[cargo-features]", "1:1"),
        ('[package]\nname = "a"\n[profile.dev]\nspeed = 1\n', "profile.dev.speed", "4:1"),
    ],
)
def test_what_is_not_built_is_named(text: str, what: str, place: str) -> None:
    with pytest.raises(Unsupported) as raised:
        package(text)
    assert raised.value.what == what
    assert str(raised.value).startswith(f"Cargo.toml:{place}: {what} is not supported by vx")


NOT_KEYS = """\
# [package]
# name = 1
[package]
name = "a"
description = '''
é
[profile.dev]
debug = "much"
[[bin]]
'''
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[profile.dev]\n# debug = 'x'\ndebug = 'much'", "13:1: profile.dev.debug: cannot be 'much'"),
        ("\tversion.workspace = true", "11:2: package.version: is the workspace's, which has none"),
        ("[[bin]]\nname = 'b'\npath = 'b.rs'\n[[ bin ]]\n", "14:4: bin[1].name: is missing"),
        ("[[bin]]\nname = 7", "12:1: bin[0].name: must be a string"),
        ("[features]\n'é' = [ ]\n\"x y\" = [1]", '13:1: features."x y": must be a list of strings'),
        (
            "[dependencies]\ny = { workspace = true }",
            "12:1: dependencies.y: is the workspace's, which has none",
        ),
        ("[lints]\nrust = { 'é' = 'allow', x = 'tea' }", "12:25: lints.rust.x: has the level 'tea'"),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_the_place_is_that_of_the_key_and_of_no_text_like_it(text: str, told: str, line_end: str) -> None:
    with pytest.raises(ProjectInvalid) as raised:
        package((NOT_KEYS + text).replace("\n", line_end))
    assert str(raised.value) == f"Cargo.toml:{told}"


def test_an_optional_dependency_of_a_registry_is_refused_only_when_it_is_wanted() -> None:
    (one,) = package(
        '[package]\nname = "a"\n[dependencies]\nx = { version = "1", optional = true }\n'
    ).dependencies
    assert one.refused == "the registry dependency x"


def test_dev_dependencies_are_nothing_to_a_build() -> None:
    found = package('[package]\nname = "a"\n[dev-dependencies]\nx = "1"\n[[test]]\nname = "t"\n')
    assert found.dependencies == ()


def options(text: str, name: str = "dev", *, executable: bool = True) -> str:
    manifest = cargo_manifest.read(parse('[package]\nname = "a"\n' + text, "Cargo.toml"))
    return " ".join(rustc_options(manifest.profiles[name], executable=executable)).replace("-C ", "")


@pytest.mark.parametrize(
    ("text", "name", "told"),
    [
        ("", "dev", "debuginfo=2 embed-bitcode=no"),
        ("", "release", "opt-level=3 embed-bitcode=no strip=debuginfo"),
        ("[profile.dev]\nopt-level = 1\ndebug-assertions = true\n", "dev",
         "opt-level=1 debuginfo=2 debug-assertions=on embed-bitcode=no"),
        ("[profile.dev]\noverflow-checks = false\n", "dev",
         "debuginfo=2 overflow-checks=off embed-bitcode=no"),
        ("[profile.dev]\ndebug-assertions = true\n", "dev", "debuginfo=2 embed-bitcode=no"),
        # As `cargo build -v` has them: the checks are the profile's own, whatever is optimised.
        ("[profile.dev]\nopt-level = 1\n", "dev",
         "opt-level=1 debuginfo=2 debug-assertions=on embed-bitcode=no"),
        ("[profile.dev]\ndebug-assertions = false\n", "dev",
         "debuginfo=2 debug-assertions=off overflow-checks=on embed-bitcode=no"),
        ("[profile.dev]\ndebug-assertions = false\noverflow-checks = false\n", "dev",
         "debuginfo=2 debug-assertions=off embed-bitcode=no"),
        ("[profile.release]\ndebug-assertions = true\n", "release",
         "opt-level=3 debug-assertions=on overflow-checks=off embed-bitcode=no strip=debuginfo"),
        ("[profile.release]\nopt-level = 0\n", "release",
         "debug-assertions=off embed-bitcode=no strip=debuginfo"),
        ("[profile.release]\nlto = true\ndebug = 1\n", "release", "opt-level=3 debuginfo=1 lto=fat"),
        ('[profile.release]\nlto = "off"\nstrip = "none"\n', "release",
         "opt-level=3 embed-bitcode=no lto=off"),
        ('[profile.dev]\npanic = "abort"\ncodegen-units = 4\nrpath = true\nincremental = true\n', "dev",
         "debuginfo=2 panic=abort codegen-units=4 embed-bitcode=no rpath"),
    ],
)  # fmt: skip
def test_profiles_as_options(text: str, name: str, told: str) -> None:
    assert options(text, name) == told


def test_only_what_is_linked_is_optimised_at_the_end() -> None:
    assert "lto" not in options("[profile.release]\nlto = true\n", "release", executable=False)


@pytest.mark.parametrize(
    "value",
    ["opt-level = 4", "lto = 1", 'debug = "much"', "codegen-units = 0", 'panic = "maybe"', "rpath = 1"],
)
def test_a_value_that_cannot_be_one(value: str) -> None:
    with pytest.raises(ProjectInvalid, match="cannot be"):
        options(f"[profile.dev]\n{value}\n")
