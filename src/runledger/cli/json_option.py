"""JSON that is given as an option."""

from __future__ import annotations

import json

from runledger.cli.failures import BadInputError
from runledger.core import JsonValue


def parse_json(text: str, *, option: str, example: str) -> JsonValue:
    """Return what an option says in JSON.

    Args:
        text: What was given.
        option: The option, as errors name it.
        example: How it may be written.

    Raises:
        BadInputError: It is no JSON, or one that Python does not read.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise BadInputError(f"{option}: is nested too deep; flatten it") from None
    except ValueError:
        raise BadInputError(f"{option}: is no JSON; write it as '{example}'") from None
