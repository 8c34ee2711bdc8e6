"""`scripts/figures.py` counts what it says: a figure that cannot grow is a bound that cannot fail."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts/figures.py"


@pytest.fixture(scope="module")
def figures():
    spec = importlib.util.spec_from_file_location("figures", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["figures"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["figures"]


def tree(tmp_path, files):
    for name, text in files.items():
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def circles(figures, root):
    found = figures.modules({"house": "src"}, root)
    return figures.circles({name: figures.imports(module, found) for name, module in found.items()})


def test_a_class_name_with_two_meanings_is_found_and_one_that_is_extended_is_not(figures, tmp_path):
    files = {
        "house/__init__.py": "",
        "house/a.py": "class _State: ...\nclass Daemon: ...\nclass Listener: ...\nclass Listener: ...\n",
        "house/b.py": "from house import a\nclass State: ...\nclass Daemon(a.Daemon): ...\n",
    }
    found = figures.modules({"house": "src"}, tree(tmp_path, files))
    assert figures.classes_named_alike(found.values()) == {"State": ["house.a", "house.b"]}


def test_a_circle_through_a_function_and_a_type_is_a_circle(figures, tmp_path):
    root = tree(
        tmp_path,
        {
            "house/__init__.py": "",
            "house/one.py": "def f():\n    from house import two\n",
            "house/two.py": "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    from house.one import f\n",
        },
    )
    assert circles(figures, root) == [("house.one", "house.two")]


def test_folders_that_need_each_other_are_a_circle_though_no_two_files_do(figures, tmp_path):
    root = tree(
        tmp_path,
        {
            "house/__init__.py": "",
            "house/a/__init__.py": "",
            "house/a/up.py": "from house.b import down\n",
            "house/a/leaf.py": "",
            "house/b/__init__.py": "",
            "house/b/down.py": "",
            "house/b/back.py": "from house.a import leaf\n",
        },
    )
    assert circles(figures, root) == [("house.a", "house.b")]


def test_layers_are_no_circle(figures, tmp_path):
    root = tree(
        tmp_path,
        {"house/__init__.py": "", "house/one.py": "from house import two\n", "house/two.py": "import os\n"},
    )
    assert circles(figures, root) == []


def test_a_module_that_imports_the_root_is_in_a_circle_with_it(figures, tmp_path):
    root = tree(
        tmp_path, {"house/__init__.py": "from house.one import x\n", "house/one.py": "import house\n"}
    )
    assert circles(figures, root) == [("house", "house.one")]


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("What is read is bounded.", 1),
        ("The caller is told why.", 1),
        ("The daemon logs the reason.", 0),
        ("Pausing a paused daemon succeeds and changes nothing.", 0),
        ("Who asks is answered besides.", 2),
        ("port: is no number", 1),
        ("a line that is none of ours, and files that are no text", 2),
        ("There is no daemon, there are none, it is no longer there, and `is None` is Python.", 0),
    ],
)
def test_phrases(figures, text, phrases):
    assert figures.words_and_phrases([text])[1] == phrases


def test_a_message_is_counted_in_a_call_and_in_an_f_string_and_no_docstring_is(figures, tmp_path):
    text = '"""What is this module."""\nraise Fault(f"{name}: what is left", "is none")\nKEY = "key"\n'
    found = figures.modules({"house": "src"}, tree(tmp_path, {"house/__init__.py": text}))
    assert sorted(figures.messages_of(found["house"])) == [": what is left", "is none"]


def test_code_in_a_page_is_no_prose(figures):
    page = "Prose `what is it`.\n```python\n# what is this\n```\nWhat is left.\n"
    assert figures.words_and_phrases([figures.prose_of_page(page)]) == (4, 1)
