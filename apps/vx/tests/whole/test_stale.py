"""What a result depends on, one promise of the README each: a change of it is a new result.

Each test changes something that no source names, and builds again: the program must be the one that a fresh
compilation gives.  None touches the system's own folders; a tool chain of the test's own stands for them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from vx.rhea import sandbox

PROGRAM = '[project]\nname = "p"\n[targets.p]\nsources = ["main.c"]\n'
SAY = '#include <stdio.h>\nint main(void) {{ printf("%d\\n", {}); return 0; }}\n'


@pytest.fixture
def p(c):
    """A C project of one source; `SYS` is a folder that its compiler searches as one of the system's."""
    project = c.project("p")
    project.write("vx.toml", PROGRAM)
    return project


def cached(project, **env: str) -> None:
    """Build until nothing is compiled: what was written just now is not trusted at once."""
    project.build(**env)
    for _ in range(5):
        if project.executed(**env) == 0:
            return
    raise AssertionError("it is compiled again and again")


def compiler(folder: Path, *options: str) -> str:
    """Write a program that is gcc with these options, and return its path."""
    path = folder / "bin/cc"
    path.parent.mkdir(parents=True, exist_ok=True)
    real = shutil.which("cc")
    path.write_text(f'#!/bin/sh\nexec {real} {" ".join(options)} "$@"\n')
    path.chmod(0o755)
    return str(path)


# --- what was looked for and not found ------------------------------------------------------------


def test_a_header_that_has_include_did_not_find_comes_to_the_project(p) -> None:
    p.write(
        "main.c", '#if __has_include("conf.h")\n#define V 2\n#else\n#define V 1\n#endif\n' + SAY.format("V")
    )
    cached(p)
    assert p.run("p") == "1\n"
    p.write("conf.h", "")
    cached(p)
    assert p.run("p") == "2\n"
    (p.path / "conf.h").unlink()
    p.build()
    assert p.run("p") == "1\n"


def test_a_header_that_has_include_did_not_find_comes_to_the_system(p, c) -> None:
    system = c.sandbox.path / "system"
    system.mkdir()
    cc = compiler(c.sandbox.path, "-isystem", str(system))
    p.write(
        "main.c", "#if __has_include(<conf.h>)\n#define V 2\n#else\n#define V 1\n#endif\n" + SAY.format("V")
    )
    cached(p, CC=cc)
    assert p.run("p") == "1\n"
    (system / "conf.h").write_text("")
    cached(p, CC=cc)
    assert p.run("p") == "2\n"
    (system / "conf.h").unlink()
    p.build(CC=cc)
    assert p.run("p") == "1\n"


def test_a_header_comes_to_an_earlier_folder_of_the_compilers_own(p, c) -> None:
    first, second = c.sandbox.path / "first", c.sandbox.path / "second"
    first.mkdir()
    second.mkdir()
    (second / "zz.h").write_text("#define V 1\n")
    cc = compiler(c.sandbox.path, "-isystem", str(first), "-isystem", str(second))
    p.write("main.c", "#include <zz.h>\n" + SAY.format("V"))
    cached(p, CC=cc)
    assert p.run("p") == "1\n"
    (first / "zz.h").write_text("#define V 2\n")
    p.build(CC=cc)
    assert p.run("p") == "2\n"


@pytest.mark.slow
def test_a_precompiled_header_comes_beside_a_header_of_the_compilers_own(p, c) -> None:
    """Gcc takes it in the header's place and does not ask whether it is of this header."""
    if b"Free Software" not in subprocess.run(["cc", "--version"], capture_output=True, check=True).stdout:
        pytest.skip("cc is not gcc")
    system = c.sandbox.path / "system"
    system.mkdir()
    cc = compiler(c.sandbox.path, "-isystem", str(system))
    p.write("main.c", "#include <zz.h>\n" + SAY.format("V"))
    header, made = system / "zz.h", system / "zz.h.gch"
    header.write_text("#define V 2\n")
    aside = c.sandbox.path / "zz.gch"
    words = [cc, "-O0", "-g", "-x", "c-header", str(header), "-o", str(aside)]
    subprocess.run(words, check=True, cwd=c.sandbox.path)
    header.write_text("#define V 1\n")
    cached(p, CC=cc)
    assert p.run("p") == "1\n"
    made.write_text("it is none\n")  # looked into, and left
    cached(p, CC=cc)
    assert p.run("p") == "1\n"
    shutil.copy(aside, made)
    p.build(CC=cc)
    assert p.run("p") == "2\n"


def test_specs_come_to_a_folder_of_library_path(p, c) -> None:
    """Where the driver looks for start files, it looks for its specs, too."""
    if b"Free Software" not in subprocess.run(["cc", "--version"], capture_output=True, check=True).stdout:
        pytest.skip("cc is not gcc")
    folder = c.sandbox.path / "libraries"
    folder.mkdir()
    p.write("main.c", "#ifndef V\n#define V 1\n#endif\n" + SAY.format("V"))
    cached(p, LIBRARY_PATH=str(folder))
    assert p.run("p") == "1\n"
    (folder / "specs").write_text("*cpp_unique_options:\n+ -DV=2\n\n")
    p.build(LIBRARY_PATH=str(folder))
    assert p.run("p") == "2\n"


def test_a_folder_of_the_compilers_own_comes_to_be(p, c) -> None:
    """One that is not there is left out of the search, and is searched when it is."""
    first, second = c.sandbox.path / "first", c.sandbox.path / "second"
    second.mkdir()
    (second / "zz.h").write_text("#define V 1\n")
    cc = compiler(c.sandbox.path, "-isystem", str(first), "-isystem", str(second))
    p.write("main.c", "#include <zz.h>\n" + SAY.format("V"))
    cached(p, CC=cc)
    first.mkdir()
    (first / "zz.h").write_text("#define V 2\n")
    p.build(CC=cc)
    assert p.run("p") == "2\n"


def test_a_header_of_the_project_that_one_of_the_system_includes(p, c) -> None:
    """No source of the project names it, so that it is known only when the compiler has looked for it."""
    system = c.sandbox.path / "system"
    system.mkdir()
    (system / "sys.h").write_text("#include <inner.h>\n")
    (system / "inner.h").write_text("#define V 1\n")
    cc = compiler(c.sandbox.path, "-isystem", str(system))
    p.write("vx.toml", PROGRAM + 'include = ["include"]\n')
    p.write("main.c", "#include <sys.h>\n" + SAY.format("V"))
    cached(p, CC=cc)
    p.write("include/inner.h", "#define V 2\n")
    p.build(CC=cc)
    assert p.run("p") == "2\n"
    (system / "inner.h").unlink()
    p.build(CC=cc)
    assert p.run("p") == "2\n"
    p.write("include/inner.h", "#define V 3\n")
    p.build(CC=cc)
    assert p.run("p") == "3\n"


def test_a_file_of_the_system_that_never_rests_hides_no_header_of_the_project(p, c) -> None:
    """Gcc opens what is called like a precompiled header; its time has the run not kept, but not wrong."""
    system = c.sandbox.path / "system"
    system.mkdir()
    (system / "zz.h").write_text("#include <inner.h>\n")
    (system / "inner.h").write_text("#define V 1\n")
    never_settled = system / "stdc-predef.h.gch"
    never_settled.write_text("it is none\n")
    ahead_s = never_settled.stat().st_mtime + 3600
    os.utime(never_settled, (ahead_s, ahead_s))
    cc = compiler(c.sandbox.path, "-isystem", str(system))
    p.write("vx.toml", PROGRAM + 'include = ["one"]\n')
    p.write("one/inner.h", "#define V 2\n")
    p.write("main.c", "#include <zz.h>\n" + SAY.format("V"))
    p.build(CC=cc)
    assert p.run("p") == "2\n"


def test_what_gcc_includes_unasked(p) -> None:
    p.write("vx.toml", PROGRAM + 'include = ["include"]\n')
    p.write("main.c", "#ifndef V\n#define V 1\n#endif\n" + SAY.format("V"))
    cached(p)
    header = p.write("include/stdc-predef.h", "#define V 2\n")
    words = ["cc", f"-I{header.parent}", "-E", "-P", "-"]
    taken = subprocess.run(words, input="V", capture_output=True, text=True, check=True).stdout.strip()
    p.build()
    assert p.run("p") == ("2\n" if taken == "2" else "1\n")


@pytest.mark.parametrize("option", ["-include", "-imacros"])
def test_a_header_of_an_option_comes_to_an_earlier_folder(p, c, option: str) -> None:
    first, second = c.sandbox.path / "first", c.sandbox.path / "second"
    first.mkdir()
    second.mkdir()
    (second / "zz.h").write_text("#define V 1\n")
    cc = compiler(c.sandbox.path, "-isystem", str(first), "-isystem", str(second))
    p.write("main.c", SAY.format("V"))
    flags = {"CC": cc, "CFLAGS": f"{option} zz.h"}
    cached(p, **flags)
    assert p.run("p") == "1\n"
    (first / "zz.h").write_text("#define V 2\n")
    cached(p, **flags)
    assert p.run("p") == "2\n"
    p.write("zz.h", "#define V 3\n")
    p.build(**flags)
    assert p.run("p") == "3\n"


@pytest.mark.parametrize("place", ["conf.h", "include/conf.h"])
def test_an_include_that_only_the_preprocessor_can_tell(p, c, place: str) -> None:
    """No text names the file: beside the source, and in the place of the system's from the start or later."""
    system = c.sandbox.path / "system"
    system.mkdir()
    (system / "conf.h").write_text("#define V 1\n")
    cc = compiler(c.sandbox.path, "-isystem", str(system))
    p.write("vx.toml", PROGRAM + 'include = ["include"]\n')
    p.write("main.c", "#define S(x) #x\n#define T(x) S(x)\n#include T(conf.h)\n" + SAY.format("V"))
    p.write(place, "#define V 2\n")
    cached(p, CC=cc)
    assert p.run("p") == "2\n"
    (p.path / place).unlink()
    cached(p, CC=cc)
    assert p.run("p") == "1\n"
    (system / "conf.h").unlink()
    p.write(place, "#define V 3\n")
    p.build(CC=cc)
    assert p.run("p") == "3\n"


def test_a_header_comes_to_an_earlier_folder_of_cflags(p, c) -> None:
    first, second = c.sandbox.path / "first", c.sandbox.path / "second"
    first.mkdir()
    second.mkdir()
    (second / "y.h").write_text("#define V 1\n")
    env = {"CFLAGS": f"-I{first} -I {second}"}
    p.write("main.c", '#include "y.h"\n' + SAY.format("V"))
    cached(p, **env)
    assert p.run("p") == "1\n"
    (first / "y.h").write_text("#define V 2\n")
    p.build(**env)
    assert p.run("p") == "2\n"


# --- what the assembler read ----------------------------------------------------------------------

INCBIN = r"""
__asm__(".data\n.globl blob\nblob:\n.incbin \"NAME\"\n.byte 0\n.text\n");
#include <stdio.h>
extern char blob[];
int main(void) { printf("%s\n", blob); return 0; }
"""


def test_incbin_of_a_file_of_the_project(p) -> None:
    p.write("data.bin", "one")
    p.write("main.c", INCBIN.replace("NAME", "data.bin"))
    cached(p)
    assert p.run("p") == "one\n"
    p.write("data.bin", "two")
    p.build()
    assert p.run("p") == "two\n"


def test_incbin_of_a_file_elsewhere(p, c) -> None:
    data = c.sandbox.path / "data.bin"
    data.write_text("one")
    p.write("main.c", INCBIN.replace("NAME", str(data)))
    cached(p)
    data.write_text("two")
    p.build()
    assert p.run("p") == "two\n"


def test_incbin_of_rust(rust) -> None:
    project = rust.crate(
        main="use std::arch::global_asm;\n"
        'global_asm!(".data", ".globl blob", "blob:", ".incbin \\"data.bin\\"", ".text");\n'
        'unsafe extern "C" { static blob: [u8; 3]; }\n'
        'fn main() { println!("{}", std::str::from_utf8(unsafe { &blob }).unwrap()); }\n'
    )
    project.write("data.bin", "one")
    cached(project)
    assert project.run("hello") == "one\n"
    project.write("data.bin", "two")
    project.build()
    assert project.run("hello") == "two\n"


# --- what the linker read -------------------------------------------------------------------------


def library(folder: Path, value: int, name: str = "libfoo.a") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "foo.c").write_text(f"int foo(void) {{ return {value}; }}\n")
    subprocess.run(["cc", "-c", "foo.c", "-o", "foo.o"], cwd=folder, check=True)
    (folder / name).unlink(missing_ok=True)
    subprocess.run(["ar", "rcsD", name, "foo.o"], cwd=folder, check=True)


@pytest.mark.parametrize("how", ["-lfoo", "-l:libfoo.a"])
def test_a_library_that_the_linker_reads(p, c, how: str) -> None:
    folder = c.sandbox.path / "lib"
    library(folder, 1)
    env = {"LDFLAGS": f"-L{folder} {how}"}
    p.write("main.c", "int foo(void);\n" + SAY.format("foo()"))
    cached(p, **env)
    assert p.run("p") == "1\n"
    library(folder, 2)
    p.build(**env)
    assert p.run("p") == "2\n"


def test_a_library_comes_to_an_earlier_folder(p, c) -> None:
    first, second = c.sandbox.path / "first", c.sandbox.path / "second"
    first.mkdir()
    library(second, 1)
    env = {"LDFLAGS": f"-L{first} -L {second} -lfoo"}
    p.write("main.c", "int foo(void);\n" + SAY.format("foo()"))
    cached(p, **env)
    library(first, 2)
    p.build(**env)
    assert p.run("p") == "2\n"


def test_a_start_file_of_the_compilers_own(p, c) -> None:
    """As crt1.o and libc.a are: read by every link, and named by nobody."""
    own = c.sandbox.path / "own"
    library(own, 1)
    cc = compiler(c.sandbox.path, f"-Wl,--undefined=foo,{own}/libfoo.a")
    p.write("main.c", "int foo(void);\n" + SAY.format("foo()"))
    cached(p, CC=cc)
    assert p.run("p") == "1\n"
    library(own, 2)
    p.build(CC=cc)
    assert p.run("p") == "2\n"


def test_a_static_library_of_rust(rust) -> None:
    folder = rust.sandbox.path / "lib"
    library(folder, 1)
    project = rust.crate(
        main='#[link(name = "foo", kind = "static")]\nunsafe extern "C" { fn foo() -> i32; }\n'
        'fn main() { println!("{}", unsafe { foo() }); }\n'
    )
    env = {"RUSTFLAGS": f"-L native={folder}"}
    cached(project, **env)
    assert project.run("hello") == "1\n"
    library(folder, 2)
    project.build(**env)
    assert project.run("hello") == "2\n"


def test_a_static_library_that_a_rust_library_takes_in(rust) -> None:
    """The compiler itself reads it, and says so nowhere."""
    folder = rust.sandbox.path / "lib"
    library(folder, 1)
    project = rust.crate(
        main='fn main() { println!("{}", low::foo()); }\n',
        manifest='[dependencies]\nlow = { path = "low" }\n',
    )
    project.write("low/Cargo.toml", '[package]\nname = "low"\nversion = "0.1.0"\nedition = "2021"\n')
    project.write(
        "low/src/lib.rs",
        'mod ffi { #[link(name = "foo", kind = "static")]\nunsafe extern "C" { pub fn foo() -> i32; } }\n'
        "pub fn foo() -> i32 { unsafe { ffi::foo() } }\n",
    )
    env = {"RUSTFLAGS": f"-L native={folder}"}
    cached(project, **env)
    assert project.run("hello") == "1\n"
    library(folder, 2)
    project.build(**env)
    assert project.run("hello") == "2\n"


def test_variables_that_say_where_to_look(p, c) -> None:
    """Of the caller's environment: compilers read them, so jobs get them."""
    first, second = c.sandbox.path / "first", c.sandbox.path / "second"
    for folder, value in ((first, 1), (second, 2)):
        library(folder, value)
        (folder / "zz.h").write_text(f"#define V {value}0\nint foo(void);\n")
    p.write("vx.toml", PROGRAM + 'link-flags = ["-lfoo"]\n')
    p.write("main.c", "#include <zz.h>\n" + SAY.format("V + foo()"))
    for folder, said in ((first, "11\n"), (second, "22\n"), (first, "11\n")):
        p.build(CPATH=str(folder), LIBRARY_PATH=str(folder))
        assert p.run("p") == said
    p.build(C_INCLUDE_PATH=str(second), LIBRARY_PATH=str(first))
    assert p.run("p") == "21\n"


# --- the tool chain -------------------------------------------------------------------------------


def test_another_program_behind_a_wrapper(p, c) -> None:
    """The script that CC names is the same, and what it runs is another."""
    behind = Path(compiler(c.sandbox.path / "behind", "-DV=1"))
    cc = c.sandbox.path / "wrapper"
    cc.write_text(f'#!/bin/sh\ntool=behind\nexec "{c.sandbox.path}/$tool/bin/cc" "$@"\n')
    cc.chmod(0o755)
    p.write("main.c", SAY.format("V"))
    cached(p, CC=str(cc))
    assert p.run("p") == "1\n"
    behind.write_text(behind.read_text().replace("-DV=1", "-DV=2"))
    p.build(CC=str(cc))
    assert p.run("p") == "2\n"


@pytest.mark.parametrize("tool", ["as", "ld", "cc1"])
def test_another_program_that_the_compiler_runs(p, c, tool: str) -> None:
    """A folder that is searched before the compiler's own gets another assembler, linker, compiler proper."""
    programs = c.sandbox.path / "programs"
    programs.mkdir()
    cc = compiler(c.sandbox.path, f"-B{programs}/")
    p.write("main.c", SAY.format("1"))
    cached(p, CC=cc)
    found = subprocess.run(["cc", f"-print-prog-name={tool}"], capture_output=True, text=True, check=True)
    real = shutil.which(found.stdout.strip())
    (programs / tool).write_text(f'#!/bin/sh\nexec {real} "$@"\n')
    (programs / tool).chmod(0o755)
    assert p.executed(CC=cc) >= 1
    cached(p, CC=cc)
    (programs / tool).write_text(f'#!/bin/sh\nexec {real} "$@" # another\n')
    assert p.executed(CC=cc) >= 1


def test_an_assembler_by_the_name_that_the_compiler_was_built_with(p, c) -> None:
    """Debian's gcc looks for x86_64-linux-gnu-as and not for as."""
    programs = c.sandbox.path / "programs"
    programs.mkdir()
    cc = compiler(c.sandbox.path, f"-B{programs}/")
    p.write("main.c", SAY.format("1"))
    cached(p, CC=cc)
    machine = subprocess.run(
        ["cc", "-dumpmachine"], capture_output=True, text=True, check=True
    ).stdout.strip()
    (programs / f"{machine}-as").write_text('#!/bin/sh\nexec as "$@"\n')
    (programs / f"{machine}-as").chmod(0o755)
    assert p.executed(CC=cc) >= 1


def test_specs_that_come_beside_the_compiler(p, c) -> None:
    programs = c.sandbox.path / "programs"
    programs.mkdir()
    cc = compiler(c.sandbox.path, f"-B{programs}/")
    p.write("main.c", "#ifndef V\n#define V 1\n#endif\n" + SAY.format("V"))
    cached(p, CC=cc)
    (programs / "specs").write_text("*cpp:\n+ -DV=2\n\n")
    p.build(CC=cc)
    expected = subprocess.run(
        [cc, "-E", "-P", "-"], input="V", capture_output=True, text=True, check=True
    ).stdout.strip()
    assert p.run("p") == ("1\n" if expected == "V" else "2\n")


# --- what no source names --------------------------------------------------------------------------

no_sandbox = pytest.mark.skipif(bool(sandbox.why_not()), reason=f"no sandbox here: {sandbox.why_not()}")


@no_sandbox
@pytest.mark.parametrize(
    "asks",
    [
        pytest.param('#define H __has_include\n#if H("conf.h")', id="another-name"),
        pytest.param('#if __has_include(/* ? */ "conf.h")', id="comment"),
    ],
)
def test_a_question_that_no_pattern_knows(p, asks: str) -> None:
    p.write("main.c", f"{asks}\n#define V 2\n#else\n#define V 1\n#endif\n" + SAY.format("V"))
    cached(p)
    assert p.run("p") == "1\n"
    p.write("conf.h", "")
    p.build()
    assert p.run("p") == "2\n"


def test_an_include_behind_a_comment_and_a_header_that_comes_before_it(p) -> None:
    """The folder is not there for the compiler, which does not look into it."""
    p.write("vx.toml", PROGRAM + 'include = ["one", "two"]\n')
    p.write("main.c", '/*\n*/ #include "x.h"\n' + SAY.format("V"))
    p.write("two/x.h", "#define V 1\n")
    cached(p)
    p.write("one/x.h", "#define V 2\n")
    p.build()
    assert p.run("p") == "2\n"


def test_a_directory_in_the_place_of_a_header_becomes_one(p) -> None:
    p.write("vx.toml", PROGRAM + 'include = ["one", "two"]\n')
    p.write("main.c", '#include "x.h"\n' + SAY.format("V"))
    p.write("two/x.h", "#define V 1\n")
    (p.path / "one/x.h").mkdir(parents=True)
    cached(p)
    assert p.run("p") == "1\n"
    (p.path / "one/x.h").rmdir()
    p.write("one/x.h", "#define V 2\n")
    p.build()
    assert p.run("p") == "2\n"


@no_sandbox
@pytest.mark.parametrize(
    "reads",
    [
        pytest.param('".inc" "bin \\"d.bin\\""', id="two-strings"),
        pytest.param('".INCBIN \\"d.bin\\""', id="other-case"),
    ],
)
def test_a_file_that_the_assembler_takes_in_under_another_word(p, reads: str) -> None:
    text = f'__asm__(".data\\n.globl b\\nb: " {reads} "\\n.byte 0\\n.text\\n");\nextern char b[];\n'
    p.write("main.c", text + "#include <stdio.h>\nint main(void) { puts(b); }\n")
    p.write("d.bin", "one")
    cached(p)
    assert p.run("p") == "one\n"
    p.write("d.bin", "two")
    p.build()
    assert p.run("p") == "two\n"


# --- the processor --------------------------------------------------------------------------------


@pytest.mark.slow
def test_native_means_what_the_compiler_takes_it_for(p, c) -> None:
    """`-march=native` on another processor is another result, though every word is the same."""
    cpu = c.sandbox.path / "cpu"
    cpu.write_text("x86-64-v2")
    if os.uname().machine != "x86_64":
        pytest.skip("knows two processors of x86_64 alone")
    cc = c.sandbox.path / "cc"
    cc.write_text(
        '#!/bin/sh\nfor word; do shift; [ "$word" = -march=native ] && word=-march=$(cat ' + str(cpu) + ")\n"
        f'set -- "$@" "$word"; done\nexec {shutil.which("cc")} "$@"\n'
    )
    cc.chmod(0o755)
    p.write("main.c", "#ifdef __AVX2__\n#define V 2\n#else\n#define V 1\n#endif\n" + SAY.format("V"))
    env = {"CC": str(cc), "CFLAGS": "-march=native"}
    cached(p, **env)
    assert p.run("p") == "1\n"
    c.kill()  # a processor does not change under a running aether
    cpu.write_text("x86-64-v3")
    assert p.executed(**env) == 2


def test_native_of_rust_has_the_processor_in_its_key(rust) -> None:
    project = rust.crate()
    project.build(RUSTFLAGS="-C target-cpu=native")
    (action,) = project.report()["actions"]
    assert len(action["parts"]["processor"]) > 10
    project.build()
    (action,) = project.report()["actions"]
    assert "processor" not in action["parts"]


# --- what nothing tells ---------------------------------------------------------------------------


@no_sandbox
def test_a_read_that_nothing_declares_is_an_error_that_names_the_file(p, c) -> None:
    """A wrapper that reads a file of the user's home: the same build elsewhere would not have it."""
    secret = c.sandbox.path / "secret"
    secret.write_text("-DV=1")
    cc = c.sandbox.path / "bin/cc"
    cc.parent.mkdir()
    cc.write_text(f'#!/bin/sh\nexec {shutil.which("cc")} $(cat {secret}) "$@"\n')
    cc.chmod(0o755)
    p.write("main.c", SAY.format("V"))
    told = p.fails(CC=str(cc))
    assert told.startswith(f"vx: main.c: it opened '{secret}', which nothing declares")
    c.kill()
    p.build(CC=str(cc), VX_RHEA_SANDBOX="off")
    assert p.run("p") == "1\n"


@no_sandbox
def test_a_file_beside_the_compiler_that_it_reads_and_does_not_tell(p, c) -> None:
    cc = c.sandbox.path / "bin/cc"
    cc.parent.mkdir()
    settings = cc.parent / "settings"
    settings.write_text("-DV=1")
    cc.write_text(f'#!/bin/sh\nexec {shutil.which("cc")} $(cat {settings}) "$@"\n')
    cc.chmod(0o755)
    p.write("main.c", SAY.format("V"))
    cached(p, CC=str(cc))
    settings.write_text("-DV=2")
    p.build(CC=str(cc))
    assert p.run("p") == "2\n"


def test_a_macro_that_names_a_file_of_the_kernels_has_nothing_built_again(c, tmp_path) -> None:
    """`<paths.h>` names /proc/kmsg, /etc/mtab; where an include is a macro, all that macros name counts."""
    link = tmp_path / "mounts"
    link.symlink_to("/proc/self/mounts")
    project = c.project("p")
    project.write("vx.toml", '[project]\nname = "p"\n[targets.p]\nsources = ["*.c"]\n')
    project.write("a.h", "int main(void) { return 0; }\n")
    project.write("main.c", f'#define A "a.h"\n#define B "/proc/self/stat"\n#define C "{link}"\n#include A\n')
    project.build()
    assert project.executed() == 0


@pytest.mark.parametrize("directory", ["/", "//", "/usr", "/usr/..", ".", "..", "sub", "sub/"])
def test_a_macro_that_names_a_directory_has_nothing_built_again(p, directory: str) -> None:
    """`#define DIR_CHAR "/"` of curl, one of whose sources has an include that only VMS understands."""
    p.write("vx.toml", PROGRAM + 'include = ["inc"]\n')
    p.write("inc/a.h", "")
    p.write("sub/b.h", "")
    p.write(
        "main.c",
        f'#define D "{directory}"\n#ifdef NEVER\n#include d\n#endif\nint main(void) {{ return 0; }}\n',
    )
    cached(p)
