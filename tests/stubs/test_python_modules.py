"""Written modules: they import nothing heavy, check what comes back, and take no description for code."""

import ast
import importlib.util
import inspect
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry import errors
from daemonry.stubs.python_modules import Module, docstring
from daemonry.wire import idl_parser

# Names that Python or the module keeps to itself, at every place that a description has for one.
HOSTILE = '''
# Jobs, "quoted" \\ and """triple"""; import os
interface org.example.job-list

# A job.
type Job (name: string, size: ?int, tags: []string, meta: [string](a: int, b: ?(on, off)), from: int,
          self: ?bool, from_json: string, to_json: ?string, names: [string]())
type Tree (value: float, children: []Tree)
type Kind (fast, slow)
type None (x: int)
type Any (y: int)
type BlockingStub ()
# Lists them.
#
# [Reads]
method List(kind: ?Kind, Job: ?Job, list: []string, str: ?string) -> (result: []Job)
method ListJobs() -> (jobs: []Job, count: int)
method Listjobs() -> (value: float, children: []Tree)
# [Requires 'more' flag]
method Watch(tree: Tree, trees: ?[]Tree, by: [string]?Tree, all: [string]()) -> (result: ?float)
method Import(class: string) -> ()
method Str(a: object, b: any) -> (result: object)
method Dict() -> (result: Kind)
error TooFar (limit: int, error: string, inner: ?(x: int), ran: bool)
error JobListClient ()
error Exception ()
'''


def written(text):
    return Module(idl_parser.parse(text))


def loaded(text, tmp_path):
    module = written(text)
    path = tmp_path / f"{module.name}.py"
    path.write_text(module.text(), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(module.name, path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


class FakeClient:
    """A client that answers with what it is given, and notes what it is called with."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.calls = []

    def call(self, method, parameters, *, timeout_s, idempotent):
        self.calls.append((method, parameters, timeout_s, idempotent))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def stream(self, method, parameters, *, first_s):
        self.calls.append((method, parameters, first_s))
        yield from self.answers


JOB = {
    "name": "a",
    "tags": ["x"],
    "meta": {"k": {"a": 1, "b": "on"}},
    "from": 2,
    "from_json": "f",
    "names": {"n": {}},
}


def test_hostile_names_become_names_that_python_can_have(tmp_path):
    jobs = loaded(HOSTILE, tmp_path)
    methods = [name for name in vars(jobs.JobListClient_) if not name.startswith("_")]
    assert methods == ["list", "list_jobs", "listjobs", "watch", "import_", "str", "dict"]
    assert list(inspect.signature(jobs.JobListClient_.list).parameters) == [
        "self",
        "list",
        "kind",
        "Job_",
        "str",
    ]
    assert issubclass(jobs.JobListClient, errors.CallFailed)
    assert issubclass(jobs.Exception, errors.CallFailed)


def test_a_call_sends_names_of_the_wire_and_returns_records(tmp_path):
    jobs = loaded(HOSTILE, tmp_path)
    client = FakeClient({"result": [JOB]}, {}, {"value": 1, "children": [{"value": 2.5, "children": []}]})
    stub = jobs.JobListClient_(client, timeout_s=2)
    (job,) = stub.list(["l"], "fast", Job_=jobs.Job.from_json(JOB))
    stub.import_("c")
    assert stub.listjobs() == jobs.Tree(1.0, [jobs.Tree(2.5, [])])
    assert (job.from_, job.meta["k"].b, job.names, job.size) == (2, "on", {"n"}, None)
    assert job.to_json() == JOB
    sent = {"list": ["l"], "kind": "fast", "Job": JOB}
    assert client.calls[0] == ("org.example.job-list.List", sent, 2, True)
    assert client.calls[1] == ("org.example.job-list.Import", {"class": "c"}, 2, False)


def test_a_stream_yields_values_and_is_closed_with_its_loop(tmp_path):
    jobs = loaded(HOSTILE, tmp_path)
    client = FakeClient({"result": 1.5}, {"result": None}, {"result": "x"})
    tree = jobs.Tree(1.0, [])
    values = jobs.JobListClient_(client).watch(tree, {"a": None, "b": tree}, {"s"}, [tree])
    assert [next(values), next(values)] == [1.5, None]
    with pytest.raises(
        errors.RemoteProtocolError, match=r"the reply to org\.example\.job-list\.Watch does not fit"
    ):
        next(values)
    plain = {"value": 1.0, "children": []}
    sent = {"tree": plain, "by": {"a": None, "b": plain}, "all": {"s": {}}, "trees": [plain]}
    assert client.calls[0] == ("org.example.job-list.Watch", sent, 30.0)


def test_a_declared_error_is_raised_as_its_class(tmp_path):
    jobs = loaded(HOSTILE, tmp_path)
    fields = {"limit": 3, "error": "e", "inner": {"x": 1}, "ran": True}
    wrong = errors.CallFailed("org.example.job-list.TooFar", {"limit": "x"})
    client = FakeClient(errors.CallFailed("org.example.job-list.TooFar", fields), wrong)
    with pytest.raises(jobs.TooFar) as raised:
        jobs.JobListClient_(client).import_("x")
    error = raised.value
    assert (error.limit, error.error_, error.inner.x, error.ran_, error.ran) == (3, "e", 1, True, "yes")
    with pytest.raises(errors.CallFailed) as raised:
        jobs.JobListClient_(client).import_("x")
    assert raised.value is wrong


def test_docstrings_are_carried_over_without_the_marks(tmp_path):
    jobs = loaded(HOSTILE, tmp_path)
    assert jobs.Job.__doc__ == "A job."
    assert inspect.getdoc(jobs.JobListClient_.list) == "Lists them."
    assert jobs.JobListClient_.__doc__ == 'Jobs, "quoted" \\ and """triple"""; import os'


@given(st.text(max_size=60) | st.text(st.sampled_from("\"\\\n'ab{}"), max_size=30))
def test_no_text_ends_its_docstring(text):
    """A description comes from a server; with `\"\"\"` in a comment it must not become code."""
    source = "\n".join(["def f():", *(f"    {line}".rstrip() for line in docstring(text)), "    return 1"])
    tree = ast.parse(source)
    (function,) = tree.body
    assert len(function.body) == 2
    assert isinstance(function.body[0].value.value, str)
    shown = re.sub(r"\s+", "", function.body[0].value.value)
    assert shown == re.sub(r"\s+", "", text.encode("utf-8", "replace").decode())


def test_a_module_imports_no_more_than_a_call_by_name(tmp_path):
    module = written(HOSTILE)
    (tmp_path / f"{module.name}.py").write_text(module.text(), encoding="utf-8")
    script = f"""
import sys
import daemonry, daemonry.launch.ensure, daemonry.service.client.blocking, daemonry.errors
before = set(sys.modules)
import {module.name}
print(*sorted(set(sys.modules) - before))
"""
    loaded_now = subprocess.check_output([sys.executable, "-c", script], cwd=tmp_path, text=True)
    assert set(loaded_now.split()) <= {
        *("daemonry.faults", "daemonry.stubs", "daemonry.stubs.clients", "daemonry.stubs.convert"),
        module.name,
    }


@pytest.mark.slow
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_a_module_is_typed_for_strict_checkers(checker, tmp_path):
    if importlib.util.find_spec(checker) is None:
        pytest.skip(f"needs {checker}")
    module = written(HOSTILE)
    (tmp_path / f"{module.name}.py").write_text(module.text(), encoding="utf-8")
    (tmp_path / "use.py").write_text(
        "from typing import Any, assert_type\n"
        f"from {module.name} import *\n"
        "def use(client: Any) -> None:\n"
        "    jobs = JobListClient_(client)\n"
        "    assert_type(jobs.list([]), list[Job])\n"
        "    for x in jobs.watch(Tree(1.0, []), {}, set()):\n"
        "        assert_type(x, float | None)\n",
        encoding="utf-8",
    )
    words = {"mypy": ["--strict", "--cache-dir", "cache"], "pyright": ["--pythonpath", sys.executable]}[
        checker
    ]
    done = subprocess.run(
        [sys.executable, "-m", checker, *words, "use.py", f"{module.name}.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
