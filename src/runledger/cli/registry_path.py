"""From ``module:attribute`` to the registry or catalog of an application, and from each failure to a remedy."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from runledger.cli.failures import BadInputError
from runledger.runtime import JobCatalog, JobRegistry

R = TypeVar("R", bound=JobRegistry)

_ARGUMENT = "MODULE:ATTRIBUTE"
_NOUNS: Mapping[type[JobRegistry], str] = {JobRegistry: "registry", JobCatalog: "catalog"}


def load_registry(path: str) -> JobRegistry:
    """Import a module, with the current directory on the path, and return the registry it holds.

    Args:
        path: Such as ``app.jobs:registry``; the attribute may be dotted. A catalog is a registry too.

    Raises:
        BadInputError: There is no such module or attribute, the module cannot be imported, or what is there is no
            registry or an empty one.
    """
    return _load(path, JobRegistry)


def load_catalog(path: str) -> JobCatalog:
    """Do the same for a catalog."""
    return _load(path, JobCatalog)


def _load(path: str, kind: type[R]) -> R:
    module_name, separator, attribute = path.partition(":")
    if not separator or not _is_dotted_name(module_name) or not _is_dotted_name(attribute):
        raise _bad(f"{path!r} is no path of a {_NOUNS[kind]}; {_form_remedy(module_name, attribute, kind)}")
    if module_name.endswith(".py"):
        raise _bad(f"{path!r} names a file; {_form_remedy(module_name, attribute, kind)}")
    module = _import(module_name)
    found: object = module
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise _bad(f"module {module_name!r} has no {attribute!r}; {_attribute_remedy(module, attribute, kind)}")
        found = getattr(found, name)
    if not isinstance(found, kind):
        raise _bad(f"{path!r} is of type {type(found).__name__}, not {kind.__name__}; {_found_remedy(module, kind)}")
    if not found.registered_types():
        raise _bad(
            f"the {_NOUNS[kind]} {path!r} is empty; register handlers with @{attribute}.job(...), "
            f"in {module_name!r} or in modules that it imports"
        )
    return found


def _import(module_name: str) -> ModuleType:
    directory = str(Path.cwd())
    if directory not in sys.path:
        # As `python -m` has it. It stays: handlers import when they run, too.
        sys.path.insert(0, directory)
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise _import_failed(module_name, error) from None
        missing = "" if error.name == module_name else f", because there is no {error.name!r}"
        raise _bad(
            f"there is no module {module_name!r}{missing}; check the name, or start in the directory that contains it "
            f"(this is {directory})"
        ) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 (the code of a module may raise anything)
        raise _import_failed(module_name, error) from None


def _import_failed(module_name: str, error: BaseException) -> BadInputError:
    last_line = traceback.format_exception_only(error)[-1].strip()
    return _bad(
        f"module {module_name!r} cannot be imported: {last_line}{_origin(error)}; "
        f'`python -c "import {module_name}"` shows the whole traceback'
    )


def _origin(error: BaseException) -> str:
    """Return where an exception was raised, as far as that is code of the application."""
    if isinstance(error, SyntaxError):
        return f" ({error.filename}, line {error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_part_of_importing(frame.filename)]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def _is_part_of_importing(filename: str) -> bool:
    return filename.startswith("<frozen ") or filename in {__file__, importlib.__file__}


def _form_remedy(module_name: str, attribute: str, kind: type[JobRegistry]) -> str:
    """Return how the path is written; where it names a file, with the module that this file is."""
    guess = module_name.removesuffix(".py").removeprefix("./").replace("/", ".")
    if guess != module_name and _is_dotted_name(guess) and _is_dotted_name(attribute):
        return f"write {guess}:{attribute}"
    return f"write it as in app.jobs:{_NOUNS[kind]}"


def _attribute_remedy(module: ModuleType, attribute: str, kind: type[JobRegistry]) -> str:
    similar = [] if _names_in(module, kind) else get_close_matches(attribute, vars(module), n=1)
    hint = f"; did you mean {similar[0]!r}?" if similar else ""
    return f"{_found_remedy(module, kind)}{hint}"


def _found_remedy(module: ModuleType, kind: type[JobRegistry]) -> str:
    names = _names_in(module, kind)
    return f"it has {' and '.join(names)}" if names else f"name the attribute that holds the {kind.__name__}"


def _names_in(module: ModuleType, kind: type[JobRegistry]) -> list[str]:
    return [name for name, value in vars(module).items() if isinstance(value, kind)]


def _is_dotted_name(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _bad(problem: str) -> BadInputError:
    return BadInputError(f"argument {_ARGUMENT}: {problem}")
