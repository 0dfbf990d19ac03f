"""From an annotation to the shape that a JSON value must have."""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum, Flag
from itertools import combinations
from typing import Any, Literal, cast

from runledger.core.errors import InvalidArgumentError
from runledger.core.json_shape import (
    ALL_TYPES,
    TEXT_SHAPES,
    Anything,
    Choice,
    ListOf,
    MappingOf,
    Member,
    NoneType,
    Number,
    OneOf,
    Record,
    Scalar,
    Shape,
    TupleOf,
)
from runledger.core.json_value import JsonValue

# Annotations may name it without importing it: the alias refers to itself by this name.
_KNOWN_NAMES: Mapping[str, object] = {"JsonValue": JsonValue}

_SCALARS: Mapping[object, Shape] = {
    str: Scalar(str),
    int: Scalar(int),
    bool: Scalar(bool),
    float: Number(),
    None: Scalar(NoneType),
    NoneType: Scalar(NoneType),
    Any: Anything(),
    object: Anything(),
    JsonValue: Anything(),
    **TEXT_SHAPES,
}
_LISTS = (list, collections.abc.Sequence, collections.abc.MutableSequence)
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_MAPPING_PARAMETERS = 2


def shape_of(annotation: object, *, name: str, global_names: Mapping[str, Any]) -> Shape:
    """Return the shape of the values that an annotation allows.

    Args:
        annotation: The annotation, or its text.
        name: The name that errors give to it.
        global_names: The module namespace in which names are looked up.

    Raises:
        InvalidArgumentError: It cannot be resolved, or JSON values of this kind cannot be decoded. ``error.field`` is
            ``name``, or the field of a class on the way.
    """

    def annotated() -> None: ...

    annotated.__annotations__ = {"value": annotation}
    resolved = _resolve(annotated, name, global_names=dict(global_names))["value"]
    try:
        return _AnnotationReader().read(resolved, name)
    except RecursionError:
        problem = "refers to itself"
    raise InvalidArgumentError(name, problem, "let only dataclasses and TypedDicts do that")


class _AnnotationReader:
    """Reads one annotation; a class that contains itself is read once."""

    def __init__(self) -> None:
        self._records: dict[type, Record] = {}

    def read(self, annotation: object, place: str) -> Shape:
        if _is_hashable(annotation) and annotation in _SCALARS:
            return _SCALARS[annotation]
        if isinstance(annotation, typing.ForwardRef) and annotation.__forward_arg__ in _KNOWN_NAMES:
            return _SCALARS[JsonValue]  # where the alias comes round to itself
        if isinstance(annotation, typing.NewType):
            return self.read(annotation.__supertype__, place)
        if hasattr(annotation, "__value__"):  # the `type` statement of Python 3.12
            return self.read(cast("Any", annotation).__value__, place)
        if isinstance(annotation, type) and typing.get_origin(annotation) is None:
            return self._read_class(cast("type[Any]", annotation), place)
        return self._read_form(annotation, place)

    def _read_class(self, annotation: type[Any], place: str) -> Shape:
        if annotation in _LISTS or annotation is tuple:
            return ListOf(_SCALARS[Any], tuple if annotation is tuple else list)
        if annotation in _MAPPINGS:
            return MappingOf(_SCALARS[Any])
        if issubclass(annotation, Enum) and not issubclass(annotation, Flag):
            return Choice(_enum_members(annotation, place))
        if typing.is_typeddict(annotation):
            return self._read_record(annotation, _typed_dict_members, dict)
        if dataclasses.is_dataclass(annotation):
            return self._read_record(annotation, _dataclass_members, annotation)
        raise _unsupported(annotation, place)

    def _read_form(self, annotation: object, place: str) -> Shape:
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin in {typing.Annotated, typing.Required, typing.NotRequired}:
            return self.read(arguments[0], place)
        if origin is Literal:
            return Choice(_literal_members(arguments, annotation, place))
        if origin in {typing.Union, types.UnionType}:
            return self._read_union(arguments, place)
        if origin in _LISTS or (origin is tuple and arguments[1:] == (...,)):
            return ListOf(self.read(arguments[0], place), tuple if origin is tuple else list)
        if origin is tuple:
            return TupleOf([self.read(argument, place) for argument in arguments])
        if origin in _MAPPINGS and len(arguments) == _MAPPING_PARAMETERS and arguments[0] is str:
            return MappingOf(self.read(arguments[1], place))
        raise _unsupported(annotation, place)

    def _read_union(self, arguments: Sequence[object], place: str) -> Shape:
        shapes = [self.read(argument, place) for argument in arguments]
        if any(shape.types == ALL_TYPES for shape in shapes):
            return _SCALARS[Any]
        # Of `int | float` the integers are integers, in whatever order it is written.
        shapes.sort(key=lambda shape: not isinstance(shape, Number))
        for one, other in combinations(shapes, 2):
            if one.types & other.types and not (isinstance(one, Number) and isinstance(other, Scalar)):
                raise InvalidArgumentError(
                    place,
                    f"is a union of {one.expected} and {other.expected}, which look alike in JSON",
                    "leave one of them, or annotate with Any and decide in the handler",
                )
        return OneOf(shapes)

    def _read_record(
        self,
        annotation: type[Any],
        members_of: Callable[[type[Any], Mapping[str, object]], Iterator[tuple[str, bool]]],
        make: Callable[..., object],
    ) -> Record:
        known = self._records.get(annotation)
        if known is not None:
            return known
        record = self._records[annotation] = Record(make, annotation.__qualname__)
        hints = _resolve(annotation, annotation.__qualname__)
        record.members = [
            Member(name, self.read(hints[name], f"{annotation.__qualname__}.{name}"), is_required)
            for name, is_required in members_of(annotation, hints)
        ]
        return record


def _resolve(annotated: Any, name: str, *, global_names: dict[str, Any] | None = None) -> dict[str, Any]:  # noqa: ANN401 (a function or a class)
    try:
        return typing.get_type_hints(annotated, global_names, dict(_KNOWN_NAMES), include_extras=True)
    except NameError as error:
        problem = f"names {error.name!r}, which its module does not have"
    except Exception as error:  # noqa: BLE001 (the text of an annotation may do anything)
        problem = f"cannot be resolved ({type(error).__name__})"
    raise InvalidArgumentError(
        name, problem, "annotate with classes that the module defines or imports, not only for type checkers"
    )


def _dataclass_members(annotation: type[Any], _hints: Mapping[str, object]) -> Iterator[tuple[str, bool]]:
    fields = [field for field in dataclasses.fields(annotation) if field.init]
    required = {
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    try:
        signature = inspect.signature(annotation)
        signature.bind(**dict.fromkeys(required))
        signature.bind(**{field.name: None for field in fields})
    except TypeError:
        problem = "has an __init__ that does not take its fields by name"
    else:
        yield from ((field.name, field.name in required) for field in fields)
        return
    raise InvalidArgumentError(
        annotation.__qualname__, problem, "leave __init__ to dataclass, and give no InitVar without a default"
    )


def _typed_dict_members(annotation: type[Any], hints: Mapping[str, object]) -> Iterator[tuple[str, bool]]:
    for name, hint in hints.items():
        origin = typing.get_origin(hint)
        # __required_keys__ does not see the two in annotations that are text.
        is_marked = origin in {typing.Required, typing.NotRequired}
        yield name, origin is typing.Required if is_marked else name in annotation.__required_keys__


def _enum_members(annotation: type[Enum], place: str) -> Iterator[tuple[object, JsonValue]]:
    for member in annotation.__members__.values():
        yield member, _written_value(member, annotation, place)


def _literal_members(members: Sequence[object], annotation: object, place: str) -> Iterator[tuple[object, JsonValue]]:
    for member in members:
        yield member, _written_value(member, annotation, place)


def _written_value(member: object, annotation: object, place: str) -> JsonValue:
    """Return what the encoder writes for a member: of an enumeration that is text or number too, the text or number."""
    if isinstance(member, bool) or member is None:
        return member
    if isinstance(member, str):
        return str.__str__(member)
    if isinstance(member, int):
        return int.__int__(member)
    if isinstance(member, float):
        return float.__float__(member)
    if isinstance(member, Enum) and not isinstance(member.value, Enum):
        return _written_value(member.value, annotation, place)
    raise _unsupported(annotation, place)


def _is_hashable(annotation: object) -> bool:
    try:
        hash(annotation)
    except TypeError:
        return False
    return True


def _unsupported(annotation: object, place: str) -> InvalidArgumentError:
    shown = annotation.__qualname__ if isinstance(annotation, type) else str(annotation)
    problem = f"names {shown}, to which JSON cannot be decoded"
    # A model of pydantic, which need not be installed.
    if isinstance(annotation, type) and callable(getattr(annotation, "model_validate", None)):
        value = "payload" if place == "payload" else "..."
        remedy = f"annotate with `Any`, and call `{shown}.model_validate({value})` in the handler"
        return InvalidArgumentError(place, problem, remedy)
    return InvalidArgumentError(
        place,
        problem,
        "use a dataclass, TypedDict, Enum, Literal, UUID, datetime, date, Decimal, a JSON type, or list, tuple, "
        "dict[str, ...] and `| None` of these; or Any, and decode in the handler",
    )
