"""What the caller's environment says of a build."""

import pytest

from vx.project import environment
from vx.project.errors import Unsupported


@pytest.mark.parametrize(
    ("flags", "refused"),
    [
        ("-Csplit-debuginfo=unpacked", "-Csplit-debuginfo=unpacked"),
        ("-C opt-level=1 -C split_debuginfo=packed", "-Csplit_debuginfo=packed"),
        ("--codegen split-debuginfo=packed", "-Csplit-debuginfo=packed"),
        ("--codegen=save-temps", "-Csave-temps"),
        ("--emit=asm", "--emit=asm"),
        ("--emit asm", "--emit"),
        ("-oelsewhere", "-oelsewhere"),
        ("--out-dir=/tmp", "--out-dir=/tmp"),
        ("-C split-debuginfo=off -C save-temps=no -C link-arg=-O1", None),
        ("-Ctarget-cpu=native -Clink-arg=-Wl,-O1 --cfg emit", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("name", ["RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"])
def test_an_option_of_rustc_with_a_second_output_is_refused_by_name(name, flags, refused):
    env = {name: flags.replace(" ", "\x1f") if name == "CARGO_ENCODED_RUSTFLAGS" else flags}
    if refused is None:
        environment.check_rust(env)
        assert environment.refused_of_rust(env) == []
        return
    with pytest.raises(Unsupported, match=r"its second output would be lost") as caught:
        environment.check_rust(env)
    assert f"{refused} in rustc's flags" in str(caught.value)
    assert [str(one) for one in environment.refused_of_rust(env)] == [str(caught.value)]


@pytest.mark.parametrize(
    ("word", "advice"),
    [
        ("-Wl,-Map=out.map", "second output"),
        ("-Wl,--gc-sections,-Map,out.map", "second output"),
        ("-Wl,--dependency-file=x", "second output"),
        ("-fdump-tree-all", "second output"),
        ("-fprofile-generate", "place of the build"),
        ("-fprofile-use=/home/you/profiles", "place of the build"),
        ("-Wa,-adhln=x.lst", "second output"),
        ("--output=mine", "what is made and where"),
        ("-omine", "what is made and where"),
        ("-Wl,-o,mine", "what is made and where"),
        ("-Wp,-MD,x.d", "what is made and where"),
        ("-MMD", "what is made and where"),
        ("-S", "what is made and where"),
        ("-Wl,-O1", None),
        ("-Wl,--as-needed,-rpath,/opt/lib", None),
        ("-Wl,-M", None),
        ("-Os", None),
        ("-march=native", None),
    ],
)
@pytest.mark.parametrize("name", ["CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "RUSTFLAGS"])
def test_an_option_with_an_output_is_refused_with_its_variable_and_what_to_do(name, word, advice):
    def check(words):
        if name == "RUSTFLAGS":
            environment.check_rust({name: " ".join(f"-Clink-arg={one}" for one in words)})
        else:
            environment.check_c_flags({name: words})

    if advice is None:
        check(["-g", word, "-O2"])
        return
    with pytest.raises(Unsupported) as caught:
        check(["-g", word, "-O2"])
    where = "rustc's flags" if name == "RUSTFLAGS" else name
    assert str(caught.value).startswith(f"the environment: {word} in {where} is not supported by vx: ")
    assert f"{advice}" in str(caught.value)
    assert str(caught.value).endswith(": take it out")


def test_a_word_behind_an_option_that_takes_one_is_a_name():
    environment.check_c_flags(
        {"CFLAGS": ["-D", "-S", "-include", "-o"], "LDFLAGS": ["-Xlinker", "-O1", "-u", "-o"]}
    )
    with pytest.raises(Unsupported, match="-Map=x in LDFLAGS"):
        environment.check_c_flags({"LDFLAGS": ["-Xlinker", "-Map=x"]})
