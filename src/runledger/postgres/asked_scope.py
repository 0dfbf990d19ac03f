"""In which scope something was looked for. Outside the scope is nowhere, so a refusal tells which one was asked."""

from __future__ import annotations

from runledger.core.scope import Global, Organization, Scope


def describe_asked_scope(scope: Scope, kind: str) -> str:
    """Return what to add to a text that there is no such row; nothing for ``Admin()``, which sees all.

    It is the same whether the row exists elsewhere or not.

    Args:
        scope: Where it was looked for.
        kind: What was looked for, in the singular: ``"job"``.
    """
    match scope:
        case Global():
            return f" in the global scope; pass `scope=Organization(id)` for a {kind} of an organization"
        case Organization():
            return f" in the scope of the organization that was given; `scope=` says whose {kind}s are looked for"
        case _:
            return ""
