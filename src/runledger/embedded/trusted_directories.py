"""Directories that no other user of the machine can have prepared or can reach into."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from runledger.embedded.errors import EmbeddedServerError


def ensure_directory(path: Path, *, mode: int, uid: int = -1, gid: int = -1) -> None:
    """Create ``path`` with exactly this mode and owner, or bring an existing directory of ours to them.

    Missing parents are created for the owner alone; as root they may also be passed through, because the
    server runs as another account. Parents that exist are left as they are.

    Args:
        path: An absolute path.
        mode: Permission bits, set whatever the umask says.
        uid: The owner, when it is not the account of this process.
        gid: The group, when it is not that of the account.

    Raises:
        EmbeddedServerError: ``path`` is no directory, belongs to somebody else, lies below a directory that
            somebody else prepared, or cannot be created.
    """
    try:
        _create_parents(path.parent)
        _refuse_foreign_ancestors(path)
        try:
            path.mkdir(mode=mode)
        except FileExistsError:
            _refuse_foreign(path, allowed_owners={os.geteuid(), uid})
        # Owner first: changing it may clear bits of the mode.
        os.chown(path, uid, gid, follow_symlinks=False)
        path.chmod(mode)
    except OSError as error:
        raise EmbeddedServerError(
            f"cannot create the directory {path}: {error.strerror}; choose another data directory",
            code="embedded.data_dir_unusable",
        ) from error


def _refuse_foreign_ancestors(path: Path) -> None:
    """Refuse a path that leads through a directory which another user may have put in our way.

    Below ``/tmp`` and its like anybody can create the first directory of a well-known path and later exchange
    what is in it. Elsewhere the owner of the parents decided who may write there, and that choice is
    respected.
    """
    for directory in path.parents:
        if directory != directory.parent and _is_open_to_all(directory.parent):
            _refuse_foreign(directory, allowed_owners={os.geteuid(), 0})


def _create_parents(path: Path) -> None:
    missing: list[Path] = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        try:
            directory.mkdir()
        except FileExistsError:
            continue
        directory.chmod(0o711 if os.geteuid() == 0 else 0o700)


def _is_open_to_all(directory: Path) -> bool:
    return bool(directory.stat().st_mode & stat.S_IWOTH)


def _refuse_foreign(path: Path, *, allowed_owners: set[int]) -> None:
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        problem = "is not a directory"
    elif status.st_uid not in allowed_owners:
        problem = f"belongs to user id {status.st_uid}"
    elif status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        problem = "may be written by every user"
    else:
        return
    raise EmbeddedServerError(
        f"{path} {problem}, so it cannot be trusted to hold a server of user id {os.geteuid()}; "
        "remove it or choose another data directory",
        code="embedded.directory_unsafe",
    )
