"""Make the virtual environment of a checkout and fill it from the lock.

Runs before anything is installed, so it needs a Python of 3.11 or later and nothing else. The environment
is made without pip, because Debian's Python may lack ensurepip; packages come from outside, by the first of

1. uv, where it is on the PATH,
2. the pip of the running Python (an "externally managed" one as well: it writes to the environment only), or of the
   one that the running environment was made from,
3. ensurepip, which puts a pip into the environment.

The smoke test (`tools.release`) makes its environment in the same way.
"""

import importlib.util
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "dev.lock"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def main(arguments: Sequence[str]) -> None:
    """Bring the environment named by the only argument in step with the lock and pyproject.toml."""
    if sys.version_info < (3, 11):  # noqa: UP036 - the check is for whoever starts it with an older one
        sys.exit(f"Runledger needs Python 3.11 or later; {sys.executable} is {VERSION}.")
    if len(arguments) != 1:
        sys.exit("usage: python tools/setup_venv.py DIRECTORY")
    environment = Path(arguments[0]).absolute()
    create(environment)
    install, check = installer(environment / "bin" / "python")
    print(f"Installing into {environment} (Python {VERSION}): {' '.join(install)}", flush=True)
    # The lock names every package with its hashes: nothing is left to resolve.
    _run(*install, "--no-deps", "--require-hashes", "--requirement", str(LOCK))
    # The build backend came with the lock: without isolation nothing more is fetched.
    _run(*install, "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    # Fails when pyproject.toml asks for something that the lock lacks; `make lock` resolves it again.
    _run(*check)


def create(environment: Path) -> None:
    """Make an environment of the running interpreter, without pip; one that is there already is kept."""
    is_environment = (environment / "pyvenv.cfg").is_file()
    if not is_environment and environment.is_dir() and any(environment.iterdir()):
        sys.exit(f"{environment} is a folder with other things in it; name another one: make setup VENV=.venv")
    # The environment of another interpreter, or of another version of it, would be left half of each.
    is_same_interpreter = (environment / "bin" / "python").resolve() == Path(sys.executable).resolve()
    is_same_version = (environment / "lib" / f"python{VERSION}").is_dir()
    is_stale = is_environment and not (is_same_interpreter and is_same_version)
    venv.create(environment, clear=is_stale, symlinks=True, with_pip=False)


def installer(python: Path) -> tuple[list[str], list[str]]:
    """Return the commands that install into the environment of `python` and check what is installed there."""
    if uv := shutil.which("uv"):
        target = ["--python", str(python), "--quiet"]
        return [uv, "pip", "install", *target], [uv, "pip", "check", *target]
    if owner := _python_with_pip():
        pip = [owner, "-m", "pip", "--python", str(python)]
    elif importlib.util.find_spec("ensurepip"):
        _run(str(python), "-m", "ensurepip", "--default-pip")
        pip = [str(python), "-m", "pip"]
    else:
        sys.exit(
            f"{sys.executable} has neither pip nor ensurepip. "
            "Install one of them (Debian: apt-get install python3-pip) or uv, and repeat."
        )
    # Twice quiet: errors only.
    return [*pip, "install", "-qq", "--disable-pip-version-check"], [*pip, "check"]


def _python_with_pip() -> str | None:
    if importlib.util.find_spec("pip"):
        return sys.executable
    if sys.prefix == sys.base_prefix:
        return None
    base = str(Path(sys.base_prefix) / "bin" / f"python{VERSION}")
    has_pip = subprocess.run([base, "-c", "import pip"], capture_output=True, check=False).returncode == 0
    return base if has_pip else None


def _run(*command: str) -> None:
    if exit_code := subprocess.run(command, check=False).returncode:
        sys.exit(f"{' '.join(command)} failed with exit code {exit_code}.")


if __name__ == "__main__":
    main(sys.argv[1:])
