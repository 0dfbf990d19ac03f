"""JSON values: what payloads, checkpoints, outputs and metadata may hold, and the way to text and back."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TypeAlias, cast

from runledger.core.database_text import unstorable_text_problem
from runledger.core.errors import InvalidArgumentError, UndecodableJsonError
from runledger.core.json_form import JsonEncodable, json_form

JsonValue: TypeAlias = bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"] | None
"""Any JSON value. Decoded arrays and objects are ``list`` and ``dict``; those and ``tuple`` can be encoded.

The alias names the read-only types because ``list`` and ``dict`` are invariant: a variable of type
``dict[str, str]`` is no ``dict[str, JsonValue]`` for a type checker, and such variables are what people pass.
"""

# The encoder asks for a form only of what it does not know: plain values pay nothing for it.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=json_form)

# json turns keys of type int, float, bool and None into strings and says nothing. Their texts end in a digit
# or are one of three words, so the encoded text tells whether the value has to be walked. The first
# look-behind decides nearly always; it is there for speed. The search costs a tenth of the encoding, walking
# each value would cost half of it.
_MAY_HOLD_COERCED_KEY = re.compile(
    r"""":(?<=["0-9.+\-sul][0-9el]":)(?:(?<=[0-9]":)|(?<="true":)|(?<="null":)|(?<="false":))"""
)

_NUL_ESCAPE = "\\u0000"

# The names that people give to members. Anything else may be an address, a token, the name of a person.
_SHOWN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,29}")

_NOT_FINITE = ("is NaN or infinite", "pass None or text")


def encode_json(value: JsonEncodable, *, field: str) -> str:
    """Return the compact JSON text of a value that PostgreSQL can store as ``jsonb``.

    A dataclass instance becomes an object of what its ``__init__`` takes, an enum member its value; UUIDs, dates,
    datetimes and decimals become text.

    Refused rather than changed: keys that are no strings, NaN and the infinities, strings with a NUL
    character or a lone surrogate, and objects of other classes that JSON does not have. The order of object members
    is kept here but not by ``jsonb``, which also has numbers as decimals: 1e16 comes back as an integer.

    Args:
        value: The value; ``None`` is JSON null.
        field: The name that errors give to it, such as ``"payload"``.

    Raises:
        InvalidArgumentError: The value has no such text. ``error.field`` is the path of the first offending
            place, such as ``"payload.items[2].price"``; the value itself is never shown.
    """
    text = None
    too_deep = False
    try:
        text = _ENCODER.encode(value)
    except RecursionError:
        too_deep = True
    except (TypeError, ValueError, RuntimeError):
        # The walk finds the place. Raised from here, the encoder's error would be shown too, and it may quote
        # values.
        pass

    if text is not None and not _needs_walk(text):
        return text
    if too_deep:
        raise InvalidArgumentError(field, "is nested too deep to encode", "flatten it")
    found = _first_offence(value, field)
    if found is not None:
        path, (problem, remedy) = found
        raise InvalidArgumentError(path, problem, remedy)
    if text is None:
        raise InvalidArgumentError(field, "cannot be encoded as JSON", "pass plain dict, list, str, number, bool, None")
    return text


def decode_json(text: str) -> JsonValue:
    """Return the value of a stored JSON text.

    Raises:
        UndecodableJsonError: Python cannot read it: too deep, a number with too many digits, or no JSON.
    """
    try:
        return cast("JsonValue", json.loads(text))
    except RecursionError:
        problem = "it is nested too deep"
    except json.JSONDecodeError:
        problem = "it is not JSON"
    except ValueError:
        problem = "a number has too many digits"
    # Raised outside the except blocks: JSONDecodeError carries the whole document.
    raise UndecodableJsonError(problem)


def _needs_walk(text: str) -> bool:
    """Whether the value of an encoded text may break a rule: never misses one, may take a string for one."""
    if _NUL_ESCAPE in text or _MAY_HOLD_COERCED_KEY.search(text) is not None:
        return True
    return unstorable_text_problem(text) is not None


def _first_offence(root: object, field: str) -> tuple[str, tuple[str, str]] | None:
    """Return path and offence of the first place that cannot be stored, depth first, without recursion."""
    form = _form_of(root)
    offence = _offence_at(form)
    if offence is not None:
        return field, offence
    path = [field]
    ancestors = {id(root)}
    frames: list[tuple[object, Iterator[tuple[str, object]]]] = [(root, _children(form))]
    while frames:
        parent, children = frames[-1]
        segment, child = next(children, (None, None))
        if segment is None:
            frames.pop()
            path.pop()
            ancestors.discard(id(parent))
            continue
        path.append(segment)
        form = _form_of(child)
        offence = ("contains itself", "break the cycle") if id(child) in ancestors else _offence_at(form)
        if offence is not None:
            return "".join(path), offence
        if isinstance(form, (dict, list, tuple)):
            frames.append((child, _children(cast("object", form))))
            ancestors.add(id(child))
        else:
            path.pop()
    return None


def _form_of(value: object) -> object:
    """Return what the encoder writes for a value, itself where that is what JSON has or cannot have."""
    form = value
    while not isinstance(form, (str, int, float, dict, list, tuple)):
        try:
            form = json_form(form)
        except TypeError:
            break
    return cast("object", form)


def _offence_at(value: object) -> tuple[str, str] | None:
    """Return problem and remedy of one value and of the keys of one object, without going deeper."""
    if isinstance(value, str):
        return _text_offence(value, subject="")
    if isinstance(value, int):  # bool too
        return _int_offence(value)
    if isinstance(value, float):
        return None if math.isfinite(value) else _NOT_FINITE
    if isinstance(value, Decimal):  # a finite one has a form
        return _NOT_FINITE
    if isinstance(value, dict):
        for key in cast("dict[object, object]", value):
            if not isinstance(key, str):
                return f"has a key of type {type(key).__name__}", "use string keys"
            offence = _text_offence(key, subject="has a key that ")
            if offence is not None:
                return offence
        return None
    if value is None or isinstance(value, (list, tuple)):
        return None
    return _offence_of_class(type(value))


def _offence_of_class(kind: type) -> tuple[str, str]:
    problem = f"is of type {kind.__name__}, which JSON does not have"
    if callable(getattr(kind, "model_dump", None)):  # a model of pydantic, which need not be installed
        return problem, 'pass what its `model_dump(mode="json")` returns'
    return problem, "convert it to text, number, dict, list or a dataclass instance"


def _text_offence(text: str, *, subject: str) -> tuple[str, str] | None:
    problem = unstorable_text_problem(text)
    return None if problem is None else (subject + problem, "PostgreSQL cannot store it, remove it")


def _int_offence(number: int) -> tuple[str, str] | None:
    try:
        int.__repr__(number)
    except ValueError:  # sys.set_int_max_str_digits
        return "has too many digits", "pass it as text"
    return None


def _children(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for number, (key, child) in enumerate(cast("dict[str, object]", value).items(), start=1):
            yield member_path(key, number), child
    elif isinstance(value, (list, tuple)):
        for index, child in enumerate(cast("Sequence[object]", value)):
            yield f"[{index}]", child


def member_path(key: str, number: int) -> str:
    """Return how a path goes on to a member of an object: ``.price``, or ``[hidden key 2]`` for the second member.

    Paths stand in texts that anybody may see, and keys are data as much as values are: only what looks like a name
    that a program gave is shown.
    """
    return f".{key}" if _SHOWN_KEY.fullmatch(key) else f"[hidden key {number}]"
