"""Which options a vx.toml may give."""

from __future__ import annotations

import pytest

from vx.project.c_flags import first_refused, first_refused_of_link

USUAL = """
-Wall -Wextra -Werror=format -Wno-unused-parameter -Wstrict-overflow=5 -std=c11 -std=gnu++17 -O2 -O3
-Os -Og -g -g3 -ggdb -pedantic -pthread -fPIC -fno-strict-aliasing -fvisibility=hidden
-fstack-protector-strong -D_GNU_SOURCE -DNAME=ab -UX -march=native -mtune=generic -mavx2 -msse4.2
-m32 -ffunction-sections -fdata-sections -flto -flto=auto -fopenmp -fsanitize=address,undefined
-fno-omit-frame-pointer -fno-exceptions -fno-rtti -fwrapv -funsigned-char -fcf-protection=full
-fmax-errors=3 -ansi -w -pipe -fno-common -ffast-math -ffp-contract=off -D X
--param=ssp-buffer-size=4
"""
USUAL_OF_LINK = """
-lm -lpthread -l:libz.a -L/opt/lib -static -s -rdynamic -pie -no-pie -Wl,--as-needed
-Wl,-z,relro,-z,now -Wl,-rpath,/opt/lib -Wl,-rpath=$ORIGIN -Wl,--gc-sections -Wl,--start-group -la
-Wl,--end-group -Wl,-Bstatic -lz -Wl,-O1 -Wl,--build-id=sha1 -Wl,--whole-archive
-Wl,-soname,libx.so.1 -static-libgcc -nostdlib -pthread -u main -fsanitize=address -flto
-Wl,--export-dynamic -Wl,-E -Wl,--wrap=malloc -fuse-ld=lld
"""


def test_what_projects_use_is_taken() -> None:
    assert first_refused(USUAL.split()) is None
    assert first_refused_of_link(USUAL_OF_LINK.split()) is None
    assert first_refused(['-DNAME="a b"']) is None


@pytest.mark.parametrize(
    "word",
    [
        *(
            "-o",
            "-ox",
            "--output=x",
            "-c",
            "-S",
            "-E",
            "-MD",
            "-MF",
            "-I/x",
            "-include",
            "-imacros",
            "-iprefix",
            "-B/x",
        ),
        *(
            "-fplugin=x.so",
            "-fplugin-arg-x",
            "-fdump-tree-all",
            "-fdump-rtl-x=/f",
            "-dumpdir",
            "-dA",
            "-save-temps",
        ),
        *(
            "-fprofile-use",
            "-fprofile-generate",
            "-fprofile-arcs",
            "-ftest-coverage",
            "--coverage",
            "-fstack-usage",
        ),
        *(
            "-fsave-optimization-record",
            "-fopt-info-all=/x",
            "-fdiagnostics-format=sarif-file",
            "-fmodules-ts",
        ),
        *(
            "-Wl,-o",
            "-Wp,-MD,x",
            "-Wa,-a=/x",
            "-Xpreprocessor",
            "-Xassembler",
            "-Xclang",
            "-mllvm",
            "-load",
            "-cc1",
        ),
        *(
            "-specs=x",
            "--specs=x",
            "--sysroot=/x",
            "-wrapper",
            "@x",
            "x.o",
            "/x",
            "",
            "-",
            "-x",
            "-T",
            "-aux-info",
        ),
        *(
            "-gsplit-dwarf",
            "-fsanitize-blacklist=/x",
            "-fcallgraph-info",
            "-march=/x",
            "-time=x",
            "-fuse-ld=/x",
        ),
    ],
)
def test_whatever_is_not_known_is_refused(word: str) -> None:
    assert first_refused([word]) == word
    assert first_refused(["-Wall", word, "-O2"]) == word


def test_a_value_is_no_option() -> None:
    assert first_refused(["-D", "-ox"]) == "-D"
    assert first_refused_of_link(["-Wl,-z,-Map=x"]) is not None
    assert first_refused_of_link(["-Wl,-rpath,-Map=x"]) is not None
    assert first_refused_of_link(["-L", "@x"]) == "@x"
