"""What a handler's annotation says about its payload, read once when it is registered."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any, TypeAlias

from runledger.core.errors import InvalidArgumentError
from runledger.core.json_annotation import shape_of
from runledger.core.json_shape import decode_as
from runledger.core.json_value import JsonValue

PayloadDecoder: TypeAlias = Callable[[JsonValue], Any]
"""Makes what a handler asked for; raises ``PayloadMismatchError``."""

_PAYLOAD_POSITION = 1
_POSITIONAL = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}


def payload_decoder(handler: Callable[..., object]) -> PayloadDecoder | None:
    """Return what decodes payloads for a handler or a hook; ``None`` when it takes plain JSON.

    Plain is a payload without annotation, or with one that names nothing but JSON types: those are not checked.

    Raises:
        InvalidArgumentError: JSON cannot be decoded to the annotation.
    """
    parameter = _payload_parameter(handler)
    if parameter is None:
        return None
    function = _function_behind(handler)
    try:
        shape = shape_of(
            parameter.annotation, name="payload", global_names={} if function is None else function.__globals__
        )
    except InvalidArgumentError as error:
        place = "its annotation" if error.field == "payload" else error.field
        problem, remedy = f"{place} {error.problem}", error.remedy
    else:
        return None if shape.is_plain else functools.partial(decode_as, shape, field="payload")
    name = getattr(handler, "__qualname__", type(handler).__qualname__)
    raise InvalidArgumentError("function", f"{name}, parameter {parameter.name!r}: {problem}", remedy)


def _payload_parameter(handler: Callable[..., object]) -> inspect.Parameter | None:
    """Return the annotated parameter that the payload is handed to."""
    try:
        parameters = inspect.signature(handler).parameters.values()
    except (TypeError, ValueError):  # ValueError: a builtin that does not tell its parameters
        return None
    positional = [parameter for parameter in parameters if parameter.kind in _POSITIONAL]
    if len(positional) <= _PAYLOAD_POSITION:
        return None
    parameter = positional[_PAYLOAD_POSITION]
    return None if parameter.annotation is inspect.Parameter.empty else parameter


def _function_behind(handler: Any) -> FunctionType | None:  # noqa: ANN401 (any callable)
    """Return the function whose module the names of the annotations are from: that which gave the signature."""
    while True:
        if isinstance(handler, functools.partial):
            handler = handler.func
        elif isinstance(handler, MethodType):
            handler = handler.__func__
        elif hasattr(handler, "__wrapped__"):
            handler = handler.__wrapped__
        elif isinstance(handler, FunctionType):
            return handler
        elif isinstance(type(handler).__call__, FunctionType):
            handler = type(handler).__call__
        else:
            return None
