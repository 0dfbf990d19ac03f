"""The JSON form of what applications have and JSON has not: dataclasses, enum members, UUIDs, instants, decimals."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import Field
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any, ClassVar, Protocol, TypeAlias
from uuid import UUID


class DataclassInstance(Protocol):
    """An instance of any dataclass, for type checkers."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


JsonEncodable: TypeAlias = (
    bool
    | int
    | float
    | str
    | DataclassInstance
    | Enum
    | UUID
    | date
    | Decimal
    | Sequence["JsonEncodable"]
    | Mapping[str, "JsonEncodable"]
    | Mapping[str, object]
    | None
)
"""What :func:`~runledger.core.encode_json` takes: JSON values, and instances that a handler's annotation decodes again.

``Mapping[str, object]`` is there because that is what a ``TypedDict`` is for a type checker.
"""


def json_form(value: object) -> object:
    """Return what stands for a value in JSON; the parts of a dataclass instance keep their own form.

    Raises:
        TypeError: There is nothing that stands for it. The text does not show it.
    """
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, date):  # datetime too
        return value.isoformat()
    if isinstance(value, Decimal) and value.is_finite():
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # Only what __init__ takes: the rest is made again from it.
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
    raise TypeError
