"""Tell errors that say something about the rows of a statement from those that would meet any statement."""

from __future__ import annotations

from runledger.postgres import QueryError

# SQLSTATE classes that speak of a value or a row: cardinality, data, integrity, size; and what a trigger raises.
_ROW_ERRORS = ("21", "22", "23", "54", "P0001")

# SQLSTATE classes that most likely meet every statement of the moment: read-only server, login, missing schema or
# privilege, deadlock, resources, locks, timeouts and shutdown, system.
_ERRORS_OF_THE_MOMENT = ("25", "28", "3D", "3F", "40", "42", "53", "55", "57", "58")


def is_systemic(error: QueryError) -> bool:
    """Whether nothing in the error accuses a row, so that the statement is tried again and no row pays for it.

    Errors without an SQLSTATE come from the driver or from a rule, which looked at the values.
    """
    return error.sqlstate is not None and not error.sqlstate.startswith(_ROW_ERRORS)


def meets_any_statement(error: QueryError) -> bool:
    """Whether another statement would most likely fail just now as well, so that a pause comes before the next.

    Neither this nor :func:`is_systemic` in its opposite holds for the rest, such as internal errors: a row may
    provoke them, but they do not accuse it.
    """
    return error.sqlstate is not None and error.sqlstate.startswith(_ERRORS_OF_THE_MOMENT)
