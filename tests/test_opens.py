"""No opening waits for what is no file: it is by `open_regular`, or otherwise for a reason listed here.

`open_regular(...)` (or a descriptor out of it, as `open`'s argument) is the rule for all that lies in a state
or runtime directory.  What opens a file otherwise is a function in `OTHERWISE`, with why that is right.
"""

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = ("src/daemonry", "apps/palingenesis/src", "apps/mcp-cli/src", "apps/vx/src")

# What opens by a path.  `os.fdopen` and `open(fd)` take descriptors, which somebody has opened.
PATH_METHODS = {"read_text", "read_bytes", "write_text", "write_bytes"}
# Functions that return the descriptor of a regular file, or look at what they opened themselves.
SAFE = {"open_regular", "open_file"}
# Names that hold descriptors where `open` is given them.
DESCRIPTORS = {"fd", "kept_fd", "number", "file"}

PROC = "of the kernel's, below /proc or /dev: nobody else puts anything there"
NEW = "a new file (O_EXCL), which nothing can lie in the place of"
GIVEN = "a path that a user gave: links are followed, O_NONBLOCK does not wait"
LOOKS = "O_NONBLOCK, and what was opened is looked at: a link or a FIFO is meant there"
DIRECTORY = "a directory (O_DIRECTORY): anything else is refused at once"

OTHERWISE = {
    "src/daemonry/process/regular_file.py:open_regular": "the rule itself",
    "src/daemonry/process/lock.py:share_given": GIVEN,
    "src/daemonry/process/lock.py:is_given_shared": GIVEN,
    "src/daemonry/process/place.py:host_id": "the system's own file",
    "src/daemonry/bundle.py:_opened": LOOKS,
    "src/daemonry/cli/new/command.py:new": NEW,
    "src/daemonry/cli/new/project.py:files_of": "of the package",
    "src/daemonry/process/program/launching.py:_lines_of_pth": "the interpreter has read it as it began",
    "src/daemonry/home/service_files.py:output_pipe": "the FIFO that it has just made, where nothing was",
    "src/daemonry/launch/zygote/asking.py:_connected": DIRECTORY,
    "src/daemonry/launch/zygote/becoming.py:show": "the system's own files",
    "src/daemonry/launch/zygote/freshness.py:_mapped": "the system's own file",
    "src/daemonry/launch/zygote/making.py:_spawn": "the system's own device",
    "src/daemonry/process/program/fork_exec.py:_become": "the system's own device",
    "src/daemonry/launch/zygote/serving.py:_withdraw": DIRECTORY,
    "src/daemonry/launch/zygote/surroundings.py:_read": "the system's own files",
    "apps/mcp-cli/src/mcp_cli/gateway/code/program.py:without_network": "the system's own files",
    "apps/mcp-cli/src/mcp_cli/gateway/code/runner.py:_written": "in the directory that it has just made",
    "apps/palingenesis/src/palingenesis/agents/known.py:builtin": "of the package",
    "apps/palingenesis/src/palingenesis/hooks/install.py:_read_or_none": LOOKS,
    "apps/vx/src/vx/cli/joining.py:_locked": "a lock in the worker's own directory; O_RDWR does not wait",
    "apps/vx/src/vx/directories.py:_enter": DIRECTORY,
    "apps/vx/src/vx/directories.py:opened": DIRECTORY,
    "apps/vx/src/vx/directories.py:replace": NEW,
    "apps/vx/src/vx/project/processor.py:described": PROC,
    "apps/vx/src/vx/project/toolchain.py:_watch": "in a directory that it has just made",
    "apps/vx/src/vx/project/watch.py:_become": PROC,
    "apps/vx/src/vx/project/watch.py:_is_script": GIVEN,
    "apps/vx/src/vx/project/watch.py:_look": PROC,
    "apps/vx/src/vx/cass/directory.py:_check_format": "a name that nobody can guess, in a private directory",
    "src/daemonry/process/orphans.py:_children": PROC,
    "src/daemonry/process/orphans.py:_listed_children": PROC,
    "src/daemonry/process/platform_linux.py:is_stopped": PROC,
    "src/daemonry/process/platform_linux.py:keeps_for_others": PROC,
    "src/daemonry/home/trigger/held_socket.py:_lines": PROC,
    "src/daemonry/home/consumption.py:_wake_ups": PROC,
    "src/daemonry/home/consumption.py:measure": PROC,
    "apps/mcp-cli/src/mcp_cli/pool/processes.py:_read": PROC,
    "apps/palingenesis/src/palingenesis/evidence/processes_linux.py:parent_of": PROC,
    "apps/palingenesis/src/palingenesis/terminal/commands.py:_detach_streams": PROC,
    "apps/vx/src/vx/rhea/sandbox.py:_memory": PROC,
    "src/daemonry/process/platform_linux.py:boot_id": PROC,
    "src/daemonry/process/platform_linux.py:start_time": PROC,
    "src/daemonry/process/sweep.py:_own_line": PROC,
    "src/daemonry/process/sweep.py:belongs": PROC,
    "src/daemonry/process/sweep.py:_stat_of": PROC,
    "src/daemonry/home/service_log.py:output_pipe": PROC,
    "src/daemonry/process/sweep.py:_environ": PROC,
    "src/daemonry/process/scarcity.py:check_descriptors": PROC,
    "src/daemonry/cli/output.py:_discard_the_rest": PROC,
    "src/daemonry/cli/output.py:open_what_is_closed": PROC,
    "apps/palingenesis/src/palingenesis/evidence/processes_linux.py:_process": PROC,
    "apps/palingenesis/src/palingenesis/evidence/processes_linux.py:boot_id": PROC,
    "apps/palingenesis/src/palingenesis/evidence/processes_linux.py:booted_at_s": PROC,
    "apps/palingenesis/src/palingenesis/evidence/processes_linux.py:start_of": PROC,
    "apps/palingenesis/src/palingenesis/resume/claims.py:is_marked": PROC,
    "apps/vx/src/vx/rhea/runner.py:_become": PROC,
    "apps/vx/src/vx/rhea/runner.py:children_of": PROC,
    "apps/mcp-cli/src/mcp_cli/output/render.py:_new_file": NEW,
    "apps/mcp-cli/src/mcp_cli/config/cache.py:remember": NEW,
    "apps/palingenesis/src/palingenesis/config_commands.py:_write_new": NEW,
    "apps/palingenesis/src/palingenesis/resume/launch.py:begin": NEW,
    "apps/palingenesis/src/palingenesis/resume/claims.py:begin_here": NEW,
    "apps/vx/src/vx/cass/directory.py:_create": NEW,
    "apps/vx/src/vx/rhea/runner.py:_write_trace": NEW,
    "apps/vx/src/vx/rhea/scratch.py:_put_marked": NEW,
    "apps/vx/src/vx/rhea/scratch.py:mark": NEW,
    "apps/vx/src/vx/rhea/scratch.py:_put_one": NEW,
    "apps/mcp-cli/src/mcp_cli/cli/call.py:_from_file": GIVEN,
    "apps/mcp-cli/src/mcp_cli/config/given_files.py:read_given": GIVEN,
    "apps/mcp-cli/src/mcp_cli/gateway/recording.py:record": GIVEN,
    "src/daemonry/typed_toml/source.py:read": GIVEN,
    "src/daemonry/stubs/source.py:text_of": GIVEN,
    "apps/palingenesis/src/palingenesis/evidence/tail.py:open_regular": LOOKS,
    "apps/palingenesis/src/palingenesis/session_files.py:_head": LOOKS,
    "apps/vx/src/vx/cass/files.py:open_unnoted": LOOKS,
    "apps/vx/src/vx/digests.py:open_file": LOOKS,
    "apps/vx/src/vx/file_digests.py:_read": LOOKS,
    "apps/vx/src/vx/rhea/scratch.py:open_outputs": LOOKS,
    "apps/vx/src/vx/rhea/worker/blob_files.py:_keep": NEW,
    "apps/vx/src/vx/rhea/worker/blob_files.py:_opened": "what this process has put into its own directory",
    "apps/vx/src/vx/rhea/worker/outputs.py:_read": "O_NONBLOCK: reads what a job has left as it is",
    "apps/vx/src/vx/rhea/scratch.py:read_text": LOOKS,
    "src/daemonry/home/service_files.py:open_out": LOOKS,
    "src/daemonry/process/atomic_file.py:_sync_directory": DIRECTORY,
    "apps/palingenesis/src/palingenesis/terminal/store.py:_inside": DIRECTORY,
    "apps/vx/src/vx/rhea/sandbox.py:confine": "O_PATH: nothing is opened",
    "src/daemonry/process/private_dir.py:_stat_directory": DIRECTORY,
    "src/daemonry/transport/unix.py:_lock_directory": DIRECTORY,
    "src/daemonry/transport/unix_connect.py:_adapt": DIRECTORY,
    "apps/vx/src/vx/rhea/scratch.py:_sweep": DIRECTORY,
    "apps/vx/src/vx/rhea/scratch.py:_take_directory": DIRECTORY,
}


def _is_safe(argument):
    if isinstance(argument, ast.Call):
        function = argument.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        return name in SAFE or ast.unparse(function) in {"os.dup", "self.open_blob"}
    return isinstance(argument, ast.Name) and argument.id in DESCRIPTORS


def _opens_by_path(call):
    function = call.func
    if isinstance(function, ast.Name):
        return function.id == "open" and not _is_safe(call.args[0])
    if not isinstance(function, ast.Attribute):
        return False
    if ast.unparse(function) in {"os.open", "io.open", "os.mkfifo", "os.truncate"}:
        return True
    return function.attr in PATH_METHODS and not ast.unparse(function.value).startswith(("self.", "scratch"))


def _found(node, inside, path):
    for child in ast.iter_child_nodes(node):
        named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        if isinstance(child, ast.Call) and _opens_by_path(child):
            yield f"{path}:{inside}"
        yield from _found(child, child.name if named else inside, path)


@functools.cache
def opens():
    return frozenset(_all_opens())


def _all_opens():
    for source in SOURCES:
        for file in sorted((ROOT / source).rglob("*.py")):
            path = file.relative_to(ROOT).as_posix()
            if path.startswith("src/daemonry/testing/"):  # a test's own files
                continue
            yield from _found(ast.parse(file.read_text("utf-8")), "module", path)


def test_whatever_opens_by_a_path_uses_open_regular_or_has_a_reason():
    assert sorted(opens() - OTHERWISE.keys()) == []


def test_each_reason_is_of_something_that_is_there():
    assert sorted(OTHERWISE.keys() - opens()) == []


def test_an_open_is_found_in_each_form():
    forms = (
        "open(path)",
        "os.open(path, 0)",
        "Path(p).read_text()",
        "file.write_bytes(b'')",
        "open(f'{a}/b')",
    )
    for form in forms:
        assert list(_found(ast.parse(f"def f():\n    {form}"), "module", "m.py")) == ["m.py:f"], form
    for form in ("open(open_regular(path))", "open(fd, 'rb')", "webbrowser.open(url)", "self.read_bytes"):
        assert list(_found(ast.parse(f"def f():\n    {form}"), "module", "m.py")) == [], form
