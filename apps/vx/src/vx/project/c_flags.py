"""Which options a vx.toml may give to the compiler and to the linker: those known to write and run nothing.

Owns the list.  A project may be anybody's, and `vx build` in it writes into its `.vx` only and runs what the
user's own environment names.  So an option is taken when it is known to choose how code is compiled, and any
other is refused by name: the one that writes a file somewhere (`-Wl,-Map=`, `-fdump-...`), the one that loads
code (`-fplugin=`, `-Wl,-plugin`), and the one that nobody has thought of.  Pure.

The user's own CFLAGS, CXXFLAGS and LDFLAGS are not held to it: whoever sets them may do all of that anyway.
`environment` refuses those of them that have the compiler write a second output.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

# A value is a word or a number, never a path.
_VALUE: Final = r"[A-Za-z0-9_.,+:-]+"

# Options of the compiler that are one word.  What `-f` may switch is listed, as `-f` also writes files.
_F: Final = (
    *(
        "strict-",
        "no-",
        "pic",
        "PIC",
        "pie",
        "PIE",
        "plt",
        "common",
        "exceptions",
        "rtti",
        "omit-",
        "stack-protector",
    ),
    *(
        "stack-clash-protection",
        "stack-check",
        "cf-protection",
        "visibility",
        "signed-",
        "unsigned-",
        "short-",
        "wrapv",
    ),
    *(
        "trapv",
        "math-errno",
        "fast-math",
        "finite-",
        "finite-math-only",
        "unsafe-math-optimizations",
        "associative-math",
    ),
    *(
        "trapping-math",
        "rounding-math",
        "reciprocal-math",
        "fp-contract",
        "excess-precision",
        "function-sections",
    ),
    *(
        "data-sections",
        "inline",
        "builtin",
        "freestanding",
        "hosted",
        "asynchronous-unwind-tables",
        "unwind-tables",
    ),
    *(
        "openmp",
        "sanitize",
        "sanitize-recover",
        "sanitize-trap",
        "lto",
        "fat-lto-objects",
        "use-linker-plugin",
    ),
    *(
        "tree-",
        "ipa-",
        "gcse",
        "if-conversion",
        "unroll-",
        "unswitch-",
        "peel-",
        "vectorize",
        "slp-vectorize",
        "vect-",
    ),
    *(
        "optimize-",
        "delete-null-pointer-checks",
        "zero-call-used-regs",
        "trivial-auto-var-init",
        "gnu89-inline",
    ),
    *(
        "permissive",
        "ms-extensions",
        "plan9-extensions",
        "char8_t",
        "coroutines",
        "concepts",
        "threadsafe-statics",
    ),
    *(
        "sized-deallocation",
        "aligned-new",
        "template-depth",
        "constexpr-",
        "diagnostics-color",
        "diagnostics-show-",
    ),
    *(
        "max-errors",
        "message-length",
        "ident",
        "merge-",
        "leading-underscore",
        "pack-struct",
        "peephole",
        "schedule-",
    ),
    *(
        "reorder-",
        "split-",
        "align-",
        "semantic-interposition",
        "extended-identifiers",
        "input-charset",
        "exec-charset",
    ),
    *(
        "wide-exec-charset",
        "dollars-in-identifiers",
        "blocks",
        "color-diagnostics",
        "standalone-debug",
        "var-tracking",
    ),
    *(
        "debug-types-section",
        "eliminate-unused-",
        "jump-tables",
        "non-call-exceptions",
        "tls-model",
        "crossjumping",
    ),
    *(
        "caller-saves",
        "cprop-registers",
        "defer-pop",
        "expensive-optimizations",
        "float-store",
        "forward-propagate",
    ),
    *(
        "guess-branch-probability",
        "isolate-erroneous-paths",
        "ivopts",
        "loop-",
        "move-loop-",
        "prefetch-loop-arrays",
    ),
    *(
        "rename-registers",
        "rerun-cse-after-loop",
        "sched-",
        "section-anchors",
        "thread-jumps",
        "web",
        "partial-inlining",
    ),
    *(
        "hoist-adjacent-loads",
        "early-inlining",
        "keep-",
        "limit-function-alignment",
        "access-control",
        "elide-",
    ),
    *(
        "implicit-templates",
        "nonansi-builtins",
        "operator-names",
        "weak",
        "spell-checking",
        "directives-only",
    ),
)
_COMPILER: Final = re.compile(
    rf"-O[0-3sgz]?|-Ofast|-g[0-3]?|-ggdb[0-3]?|-gdwarf(-[2-5])?|-gz(={_VALUE})?|-g(no-)?(column-info|record-gcc-switches)"
    rf"|-g1|-gline-tables-only|-w|-W(?![lpa],)(no-)?[A-Za-z0-9+-]+(={_VALUE})?|-pedantic(-errors)?|-ansi"
    rf"|-std={_VALUE}|-stdlib={_VALUE}|-pthread|-pipe|-p|-pg|-nostdinc(\+\+)?|-undef|-trigraphs|--param={_VALUE}={_VALUE}"
    rf"|-m(?!llvm)[a-z0-9.-]+(={_VALUE})?|-D.+|-U.+|-Wa,--(noexecstack|fatal-warnings)"
    rf"|-f(no-)?({'|'.join(map(re.escape, _F))})[A-Za-z0-9_+-]*(={_VALUE})?",
    re.DOTALL,
)
# `-D NAME`: the next word is a value.
_COMPILER_PAIRS: Final = frozenset(("-D", "-U", "--param"))

_LINKER: Final = re.compile(
    r"-l:?[A-Za-z0-9_.+-]+|-L.+|-s|-r|-static(-pie|-libgcc|-libstdc\+\+|-libasan)?|-shared(-libgcc)?|-rdynamic"
    r"|-fuse-ld=(bfd|gold|lld|mold)|-(no-)?pie|-nostdlib(\+\+)?|-nodefaultlibs|-nostartfiles|-pthread|-u.+|-z[a-z-]+"
)
_LINKER_PAIRS: Final = frozenset(("-l", "-L", "-u", "-z", "-framework"))
# Words of `-Wl,`; those that take the next word say so.
_WL: Final = re.compile(
    r"--(no-)?(as-needed|whole-archive|gc-sections|undefined|relax|warn-[a-z-]+|fatal-warnings|demangle|eh-frame-hdr"
    r"|allow-multiple-definition|allow-shlib-undefined|copy-dt-needed-entries|add-needed|print-gc-sections)"
    r"|--(start-group|end-group|push-state|pop-state|export-dynamic|strip-all|strip-debug|discard-all|discard-locals)"
    r"|--(enable|disable)-new-dtags|--build-id(=[a-z0-9]+)?|--hash-style=[a-z]+|--sort-common(=[a-z]+)?|--icf=[a-z]+"
    r"|--compress-debug-sections=[a-z-]+|--(undefined|defsym|wrap|entry|exclude-libs|require-defined)=[^/]+"
    r"|-[()EsSxXq]|-O[0-3]|-B(static|dynamic|symbolic|symbolic-functions)|-l:?[A-Za-z0-9_.+-]+|-L.+"
    r"|(--?rpath|-R|--?soname|-h|--dynamic-linker|-I)=.+|-z[a-z-]+(=[0-9a-z]+)?"
    r"|-dead_strip|-headerpad_max_install_names"  # macOS
)
_WL_PAIRS: Final = frozenset(
    (
        "-z",
        "-rpath",
        "--rpath",
        "-soname",
        "--soname",
        "-h",
        "-u",
        "-e",
        "--entry",
        "--wrap",
        "--defsym",
        "-l",
        "-L",
    )
)


def first_refused(words: Sequence[str]) -> str | None:
    """Return the first option for the compiler that is not known to be harmless; None if all are."""
    return next(refused(words), None)


def first_refused_of_link(words: Sequence[str]) -> str | None:
    """Return the first option for the linker that is not known to be harmless; None if all are."""
    return next(refused_of_link(words), None)


def refused(words: Sequence[str]) -> Iterator[str]:
    """Yield each option for the compiler that is not known to be harmless."""
    return _refused(words, _COMPILER, _COMPILER_PAIRS)


def refused_of_link(words: Sequence[str]) -> Iterator[str]:
    """Yield each option for the linker that is not known to be harmless."""
    at = 0
    passed: list[str] = []
    while at < len(words):
        word = words[at]
        if word.startswith("-Wl,"):
            passed += word.split(",")[1:]
        elif word in _LINKER_PAIRS and at + 1 < len(words):
            at += 1
            if not _is_a_word(words[at]):
                yield words[at]
        elif not _LINKER.fullmatch(word) and not _COMPILER.fullmatch(word):
            yield word
        at += 1
    for word in _refused(passed, _WL, _WL_PAIRS):
        yield f"-Wl,{word}"


def _refused(words: Sequence[str], known: re.Pattern[str], pairs: frozenset[str]) -> Iterator[str]:
    at = 0
    while at < len(words):
        word = words[at]
        if word in pairs and at + 1 < len(words) and _is_a_word(words[at + 1]):
            at += 2
            continue
        if not known.fullmatch(word):
            yield word
        at += 1


def _is_a_word(word: str) -> bool:
    return bool(word) and not word.startswith(("-", "@"))
