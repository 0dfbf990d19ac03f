from __future__ import annotations

from pathlib import Path

import pytest

from runledger.cli.failures import BadInputError
from runledger.cli.registry_path import load_registry

_APPLICATION = """\
from runledger import JobContext, JobRegistry


async def send(context: JobContext, payload: None) -> None: ...


class Application:
    jobs = JobRegistry()


registry = JobRegistry()
registry.job("email.send")(send)
Application.jobs.job("report.build")(send)
empty = JobRegistry()
settings = {}
"""


@pytest.fixture(autouse=True)
def application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the package ``shop``, in which the command is started."""
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "jobs.py").write_text(_APPLICATION, encoding="utf-8")
    return package


def refusal(path: str) -> str:
    with pytest.raises(BadInputError) as refused:
        load_registry(path)
    return str(refused.value)


def test_a_module_of_the_current_directory_is_found() -> None:
    assert load_registry("shop.jobs:registry").registered_types() == ["email.send"]


def test_the_attribute_may_be_dotted() -> None:
    assert load_registry("shop.jobs:Application.jobs").registered_types() == ["report.build"]


@pytest.mark.parametrize("path", ["shop.jobs", "shop.jobs:", ":registry", "shop jobs:registry", "shop..jobs:x", ""])
def test_what_is_no_path_is_refused_with_an_example(path: str) -> None:
    assert refusal(path) == (
        f"argument MODULE:ATTRIBUTE: {path!r} is no path of a registry; write it as in app.jobs:registry"
    )


def test_a_missing_module_is_told_with_the_directory(tmp_path: Path) -> None:
    assert refusal("shop.job:registry") == (
        "argument MODULE:ATTRIBUTE: there is no module 'shop.job'; check the name, or start in the directory that "
        f"contains it (this is {tmp_path})"
    )


def test_a_missing_package_is_told_by_its_own_name() -> None:
    assert "there is no module 'shoop.jobs', because there is no 'shoop'; check" in refusal("shoop.jobs:registry")


def test_a_module_missing_inside_the_module_is_an_error_of_the_module(application: Path) -> None:
    (application / "broken.py").write_text("import shop.jobs\nimport shop.absent\n", encoding="utf-8")

    assert refusal("shop.broken:registry") == (
        "argument MODULE:ATTRIBUTE: module 'shop.broken' cannot be imported: "
        f"ModuleNotFoundError: No module named 'shop.absent' ({application / 'broken.py'}, line 2); "
        '`python -c "import shop.broken"` shows the whole traceback'
    )


@pytest.mark.parametrize(
    ("source", "last_line", "line"),
    [
        ("x = 1\nx / 0\n", "ZeroDivisionError: division by zero", 2),
        ("def broken(:\n", "SyntaxError: invalid syntax", 1),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3", 2),
        ("from shop.jobs import nothing\n", "ImportError: cannot import name 'nothing' from 'shop.jobs'", 1),
    ],
    ids=["exception", "syntax", "exit", "name"],
)
def test_an_error_inside_the_module_is_told_by_its_last_line_and_place(
    application: Path, source: str, last_line: str, line: int
) -> None:
    (application / "broken.py").write_text(source, encoding="utf-8")

    message = refusal("shop.broken:registry")

    assert f"module 'shop.broken' cannot be imported: {last_line}" in message
    assert f"({application / 'broken.py'}, line {line})" in message


def test_a_missing_attribute_is_told_with_the_registries_that_are_there() -> None:
    assert refusal("shop.jobs:registri") == (
        "argument MODULE:ATTRIBUTE: module 'shop.jobs' has no 'registri'; it has registry and empty"
    )


def test_a_missing_attribute_of_a_module_without_registries_is_told_with_a_similar_name(application: Path) -> None:
    (application / "other.py").write_text("registrar = 1\n", encoding="utf-8")

    assert refusal("shop.other:registry") == (
        "argument MODULE:ATTRIBUTE: module 'shop.other' has no 'registry'; "
        "name the attribute that holds the JobRegistry; did you mean 'registrar'?"
    )


def test_what_is_no_registry_is_refused_with_its_type() -> None:
    assert refusal("shop.jobs:settings") == (
        "argument MODULE:ATTRIBUTE: 'shop.jobs:settings' is of type dict, not JobRegistry; it has registry and empty"
    )


def test_what_is_no_registry_is_not_proposed_again(application: Path) -> None:
    (application / "service.py").write_text("DDL = 'CREATE TABLE orders ()'\n", encoding="utf-8")

    assert refusal("shop.service:DDL") == (
        "argument MODULE:ATTRIBUTE: 'shop.service:DDL' is of type str, not JobRegistry; "
        "name the attribute that holds the JobRegistry"
    )


def test_an_empty_registry_is_refused() -> None:
    assert refusal("shop.jobs:empty") == (
        "argument MODULE:ATTRIBUTE: the registry 'shop.jobs:empty' is empty; register handlers with @empty.job(...), "
        "in 'shop.jobs' or in modules that it imports"
    )


@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        ("jobs.py:registry", "write jobs:registry"),
        ("./shop/jobs.py:registry", "write shop.jobs:registry"),
        ("shop/jobs.py:", "write it as in app.jobs:registry"),
    ],
)
def test_the_file_of_a_module_is_answered_with_the_module(path: str, remedy: str) -> None:
    assert refusal(path).endswith(f"; {remedy}")
