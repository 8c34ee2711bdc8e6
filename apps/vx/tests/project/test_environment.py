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
        ("-C split-debuginfo=off -C save-temps=no -C link-arg=-o", None),
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
