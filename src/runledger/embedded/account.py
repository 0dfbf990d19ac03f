"""Which account of the operating system owns the server, and which one runs it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pwd
from pathlib import Path
from typing import TypedDict

from runledger.embedded.errors import EmbeddedServerError

# In this order: an account made for PostgreSQL, else the one that owns nothing.
_ACCOUNTS_FOR_ROOT = ("postgres", "nobody")


class Credentials(TypedDict, total=False):
    """Arguments of ``subprocess.Popen`` that start a process as another account; empty for our own."""

    user: int
    group: int
    extra_groups: list[int]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account of the operating system."""

    name: str
    uid: int
    gid: int

    @property
    def is_ours(self) -> bool:
        """Whether this process runs as the account."""
        return self.uid == os.geteuid()

    @property
    def credentials(self) -> Credentials:
        """How to start a process as this account."""
        if self.is_ours:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def owner_account() -> Account:
    """Return the account of this process: the only one, besides root, that may connect to its server.

    Raises:
        EmbeddedServerError: The user id has no name, as happens in containers that run with an arbitrary id.
    """
    uid = os.geteuid()
    try:
        return _account(pwd.getpwuid(uid))
    except KeyError as error:
        raise EmbeddedServerError(
            f"user id {uid} has no account on this machine, and PostgreSQL refuses to run without one; "
            "add the id to /etc/passwd, or connect to a server of your own instead of the embedded one",
            code="embedded.account_unusable",
        ) from error


def server_account(owner: Account, *, cluster: Path) -> Account:
    """Return the account that runs the server: the owner, except that PostgreSQL refuses to run as root.

    Args:
        owner: The account of this process.
        cluster: PostgreSQL's data directory. Once it exists, its owner stays the account, so that installing
            a ``postgres`` account later does not make the data unreadable.

    Raises:
        EmbeddedServerError: This is root, and no suitable account exists.
    """
    if owner.uid != 0:
        return owner
    with contextlib.suppress(OSError, KeyError):
        if (uid := cluster.stat().st_uid) != 0:
            return _account(pwd.getpwuid(uid))
    for name in _ACCOUNTS_FOR_ROOT:
        try:
            return _account(pwd.getpwnam(name))
        except KeyError:
            continue
    raise EmbeddedServerError(
        f"PostgreSQL refuses to run as root, and there is no account {' or '.join(_ACCOUNTS_FOR_ROOT)}; "
        "create one of them or run as an ordinary user",
        code="embedded.account_unusable",
    )


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)
