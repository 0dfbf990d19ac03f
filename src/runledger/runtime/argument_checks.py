"""Refuse what is handed to loops by mistake, at the place of the mistake and not when it is first used."""

from __future__ import annotations

from runledger.core.errors import ConfigError, InvalidArgumentError
from runledger.postgres import Database
from runledger.runtime.config import JobsConfig
from runledger.runtime.registry import JobRegistry


def database_of(database: object) -> Database:
    """Return the database that is meant by it or by its URL.

    Raises:
        InvalidArgumentError: It is something else, such as a pool, or libpq does not understand the URL.
    """
    if isinstance(database, Database):
        return database
    if isinstance(database, str):
        return Database(database)
    raise InvalidArgumentError(
        "database",
        f"is of type {type(database).__name__}",
        "pass its URL, Database(url), or Database.of_pool(pool)",
    )


def check_registry(registry: object) -> None:
    """Refuse what is no registry.

    Raises:
        InvalidArgumentError: It is something else, such as the class.
    """
    if not isinstance(registry, JobRegistry):
        problem = "is the class" if isinstance(registry, type) else f"is of type {type(registry).__name__}"
        raise InvalidArgumentError("registry", problem, "pass the JobRegistry in which the handlers are registered")


def check_config(config: object) -> None:
    """Refuse what is no settings.

    Raises:
        ConfigError: It is something else, such as a dictionary.
    """
    if not isinstance(config, JobsConfig):
        raise ConfigError(f"config is of type {type(config).__name__}; pass a JobsConfig")
