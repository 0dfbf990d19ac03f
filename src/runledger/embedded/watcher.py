"""The process that runs one PostgreSQL server and stops it when nobody uses it any more.

It is started as a script of its own, so it imports nothing but the standard library. It is the parent of the
postmaster: it learns at once when that ends, and reaps it even in a container whose first process reaps
nobody.

Four lock files say what is alive. The kernel releases them, so no kill can leave a lie behind:

=================  =================================  ======================================================
file               held by                            meaning
=================  =================================  ======================================================
``start.lock``     whoever makes, starts or stops     nobody else changes anything
``users.lock``     every user, shared                 the server is needed
``watcher.lock``   the watcher                        unless ``start.lock`` is held: the server is ready
``postgres.lock``  the postmaster and its backends    some process still has the data open
=================  =================================  ======================================================

A user takes ``start.lock``, then ``users.lock``. The watcher waits for ``users.lock`` alone, lets it go,
takes ``start.lock`` and looks again: whoever came in between keeps the server. It then holds ``start.lock``
to its end, so that the next user waits and finds the server gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

_POLL_SECONDS = 0.005
_FAST_SHUTDOWN_SECONDS = 60
_IMMEDIATE_SHUTDOWN_SECONDS = 10
_PR_SET_PDEATHSIG = 1
# Line of postmaster.pid that says how far the start is; pg_ctl reads it too.
_STATUS_LINE = 7


def main(arguments: list[str]) -> None:
    """Run the server that the command line describes until it is no longer used.

    What becomes of the start is written to standard output, which is closed then: ``ready``, or why not.
    Standard error is the log of the server.

    Args:
        arguments: Directory of the locks, PostgreSQL's data directory, directory of the socket, user id and
            group id of the account that runs the server, seconds within which it must be ready, descriptor of
            the starter's held ``start.lock``, and the command that runs PostgreSQL.
    """
    locks, cluster, socket_dir = map(Path, arguments[:3])
    uid, gid, timeout_seconds, start_lock, *command = arguments[3:]
    if os.fork() > 0:
        # The starter waits for this process alone: the one that goes on never becomes a zombie of it.
        os._exit(0)
    # What the starter ignores stays ignored over exec, and a child could not be waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    deadline = time.monotonic() + float(timeout_seconds)

    watcher_lock = _open_lock(locks, "watcher")
    fcntl.flock(watcher_lock, fcntl.LOCK_EX)
    server = _Server(command, cluster=cluster, socket_dir=socket_dir, uid=int(uid), gid=int(gid))
    # Whoever stops us, for example the service manager of the host, means the server.
    signal.signal(signal.SIGTERM, lambda _number, _frame: server.request_shutdown())
    problem = server.start(_open_lock(locks, "postgres"), deadline=deadline)
    _report(problem or "ready")
    # The starter shared this lock with us: had it been killed, nobody else would have begun a second start.
    os.close(int(start_lock))
    if problem is None:
        threading.Thread(target=_stop_when_unused, args=(locks, server), daemon=True).start()
        server.wait()


class _Server:
    """The postmaster as a child of this process."""

    def __init__(self, command: list[str], *, cluster: Path, socket_dir: Path, uid: int, gid: int) -> None:
        self._command = command
        self._cluster = cluster
        self._socket_dir = socket_dir
        is_other = uid != os.geteuid()
        self._user = uid if is_other else None
        self._group = gid if is_other else None
        self._extra_groups: list[int] | None = [] if is_other else None
        self._postmaster: subprocess.Popen[bytes] | None = None

    def start(self, postgres_lock: int, *, deadline: float) -> str | None:
        """Start the postmaster and wait until it accepts connections; return the problem if it does not."""
        if not self._await_end_of_last_server(postgres_lock, deadline):
            return "an earlier server on the same data does not end"
        self._remove_traces_of_last_server()
        self._postmaster = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            pass_fds=[postgres_lock],
            preexec_fn=_death_signal(),  # noqa: PLW1509 - this process has one thread
            user=self._user,
            group=self._group,
            extra_groups=self._extra_groups,
        )
        # Closed, not unlocked: from here the lock is held by the processes of the server, and by nobody else.
        os.close(postgres_lock)
        while not self._is_ready():
            if (status := self._postmaster.poll()) is not None:
                return f"postgres ended with exit status {status}"
            if time.monotonic() >= deadline:
                self.stop()
                return "postgres did not become ready in time"
            time.sleep(_POLL_SECONDS)
        return None

    def request_shutdown(self) -> None:
        """Ask for a fast shutdown: sessions are ended, data is written, nothing is lost."""
        self._send(signal.SIGINT)

    def stop(self) -> None:
        """Shut down, ever less politely."""
        for number, seconds in (
            (signal.SIGINT, _FAST_SHUTDOWN_SECONDS),
            (signal.SIGQUIT, _IMMEDIATE_SHUTDOWN_SECONDS),
            (signal.SIGKILL, None),
        ):
            self._send(number)
            try:
                self.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
            return

    def wait(self, timeout_seconds: float | None = None) -> None:
        """Wait until the postmaster has ended."""
        if self._postmaster is not None:
            self._postmaster.wait(timeout_seconds)

    def _send(self, number: signal.Signals) -> None:
        if self._postmaster is not None:
            self._postmaster.send_signal(number)

    def _await_end_of_last_server(self, postgres_lock: int, deadline: float) -> bool:
        if _try_lock(postgres_lock):
            return True
        # Backends outlive a killed postmaster by a moment. A whole server outlives a killed watcher only
        # where the system knows no death signal; then this stops it, and otherwise it fails without harm.
        subprocess.run(
            [Path(self._command[0]).with_name("pg_ctl"), "-D", self._cluster, "-m", "fast", "-W", "stop"],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            check=False,
            user=self._user,
            group=self._group,
            extra_groups=self._extra_groups,
        )
        while not _try_lock(postgres_lock):
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def _remove_traces_of_last_server(self) -> None:
        # PostgreSQL refuses to start when a process with the number in one of these files exists, which after
        # a crash may be any other process. We hold the lock of the server, so we know that none is left.
        for trace in (self._cluster / "postmaster.pid", *self._socket_dir.iterdir()):
            trace.unlink(missing_ok=True)

    def _is_ready(self) -> bool:
        try:
            lines = (self._cluster / "postmaster.pid").read_text(errors="replace").split("\n")
        except FileNotFoundError:
            return False
        return len(lines) > _STATUS_LINE and lines[_STATUS_LINE].strip() == "ready"


def _stop_when_unused(locks: Path, server: _Server) -> None:
    while True:
        users = _open_lock(locks, "users")
        fcntl.flock(users, fcntl.LOCK_EX)
        # Let go before the next lock: a user takes them in the other order.
        os.close(users)
        start = _open_lock(locks, "start")
        fcntl.flock(start, fcntl.LOCK_EX)
        users = _open_lock(locks, "users")
        if _try_lock(users):
            break
        os.close(users)
        os.close(start)
    server.stop()


def _death_signal() -> Callable[[], None] | None:
    """Return what makes the kernel shut the server down when this process is killed, where the kernel can."""
    if not sys.platform.startswith("linux"):
        return None
    import ctypes  # noqa: PLC0415 - costs time, and only here

    prctl = ctypes.CDLL(None).prctl
    watcher = os.getpid()

    def arm() -> None:
        # After the change of user, which would clear it.
        prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != watcher:
            os._exit(1)

    return arm


def _report(text: str) -> None:
    # The starter may have been killed. Then, if nobody came after it, the server stops at once.
    with contextlib.suppress(BrokenPipeError):
        os.write(1, text.encode())
    # Closes the pipe: it must not stay open for as long as the server runs.
    os.dup2(2, 1)


def _open_lock(locks: Path, name: str) -> int:
    return os.open(locks / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
