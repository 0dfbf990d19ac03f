"""JSON that is given as an option."""

from __future__ import annotations

import json
import math
from typing import NoReturn

from runledger.cli.failures import BadInputError
from runledger.core import JsonValue


def parse_json(text: str, *, option: str, example: str, is_object: bool = False) -> JsonValue:
    """Return what an option says in JSON.

    Args:
        text: What was given.
        option: The option, as errors name it.
        example: How it may be written.
        is_object: Whether nothing but an object will do.

    Raises:
        BadInputError: It is no JSON, or one that Python does not read, or no object.
    """
    try:
        value: JsonValue = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise BadInputError(f"{option}: is nested too deep; flatten it") from None
    except OverflowError:
        raise BadInputError(f"{option}: has a number that is too large; write it as text") from None
    except ValueError:
        raise BadInputError(f"{option}: is no JSON; write it as '{example}'") from None
    if is_object and not isinstance(value, dict):
        raise BadInputError(f"{option}: is no JSON object; write it as '{example}'")
    return value


def _refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and the infinities, which Python reads and JSON does not have."""
    raise ValueError(name)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise OverflowError
    return number
