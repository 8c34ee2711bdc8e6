"""Names of a description in Python: readable ones stay readable, and none is a keyword or a name of ours."""

import pytest

from daemonry.stubs.names import Taken, class_name, module_name, python_name, snake


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("Add", "add"), ("ListJobs", "list_jobs"), ("GetURL2", "get_url2"), ("HTTPGet", "http_get"), ("A", "a")],
)
def test_a_methods_name_is_in_snake_case(name, wanted):
    assert snake(name) == wanted


def test_a_keyword_has_an_underscore_behind_it():
    names = ("from", "None", "self", "path")
    assert [python_name(name) for name in names] == ["from_", "None_", "self_", "path"]
    assert python_name("ran", {"ran"}) == "ran_"


@pytest.mark.parametrize(
    ("interface", "module", "kind"),
    [
        ("org.example.counter", "counter", "Counter"),
        ("org.example.job-list", "job_list", "JobList"),
        ("org.example.2fast", "i2fast", "I2fast"),
        ("org.example.class", "class_", "Class"),
        ("org.example.URL", "url", "Url"),
    ],
)
def test_an_interface_names_a_module_and_classes(interface, module, kind):
    assert (module_name(interface), class_name(interface)) == (module, kind)


def test_no_name_is_given_out_twice():
    taken = Taken({"job"})
    assert [taken.take("job"), taken.take("job"), taken.take("other")] == ["job_", "job__", "other"]
    assert "other" in taken
