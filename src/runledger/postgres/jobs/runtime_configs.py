"""Runtime configs: one JSON object for each job type, for settings that change while workers run."""

from __future__ import annotations

from uuid import UUID

from runledger.core.database_text import check_text
from runledger.core.errors import BlankJobTypeError, InvalidArgumentError
from runledger.core.identifiers import check_identifier
from runledger.core.jobs.records import JobRuntimeConfig
from runledger.core.jobs.setting_checks import check_int32
from runledger.core.json_form import JsonEncodable
from runledger.core.json_value import encode_json
from runledger.postgres.document import check_limit, check_offset, encode_document, text_filters
from runledger.postgres.operation import Statement, Steps, operation
from runledger.postgres.row_decoding import decode_runtime_config
from runledger.postgres.sql_errors import QueryErrorCategory, refusal
from runledger.postgres.sql_files import SqlFile

_UPSERT = SqlFile("runtime_configs", "upsert_job_runtime_config")
_INSERT_IF_MISSING = SqlFile("runtime_configs", "insert_job_runtime_config_if_missing")
_GET = SqlFile("runtime_configs", "get_job_runtime_config")
_LIST = SqlFile("runtime_configs", "list_job_runtime_configs")
_DELETE = SqlFile("runtime_configs", "delete_job_runtime_config")


@operation("jobs.upsert_job_runtime_config")
def upsert_job_runtime_config(
    job_type: str, config: JsonEncodable, *, schema_version: int = 1, updated_by_user_id: UUID | None = None
) -> Steps[JobRuntimeConfig]:
    """Store the config of a job type, or overwrite the one that it has, and return it.

    Args:
        job_type: A type that has a definition.
        config: A JSON object, or an instance of a dataclass.
        schema_version: A number of the application's own, positive.
        updated_by_user_id: The user who did it.

    Raises:
        InvalidArgumentError: The config is no object, or nothing that JSON and PostgreSQL can hold.
        QueryError: ``job.definition_not_found``: the type has no definition.
    """
    document = _document(job_type, config, schema_version, updated_by_user_id)
    rows = yield Statement(sql=_UPSERT, document=document, is_only=True)
    return decode_runtime_config(rows[0])


@operation("jobs.insert_job_runtime_config_if_missing")
def insert_job_runtime_config_if_missing(
    job_type: str, config: JsonEncodable, *, schema_version: int = 1, updated_by_user_id: UUID | None = None
) -> Steps[bool]:
    """Store the config of a job type that has none, and tell whether it had none. One that is there stays.

    Args and errors are those of :func:`upsert_job_runtime_config`.
    """
    document = _document(job_type, config, schema_version, updated_by_user_id)
    rows = yield Statement(sql=_INSERT_IF_MISSING, document=document, is_only=True)
    return bool(rows)


@operation("jobs.get_job_runtime_config")
def get_job_runtime_config(job_type: str) -> Steps[JobRuntimeConfig | None]:
    """Return the config of a job type, or ``None``."""
    return (yield from _get(job_type))


@operation("jobs.get_required_job_runtime_config")
def get_required_job_runtime_config(job_type: str) -> Steps[JobRuntimeConfig]:
    """Return the config of a job type.

    Raises:
        QueryError: ``job.runtime_config_not_found``: the type has no config.
    """
    config = yield from _get(job_type)
    if config is None:
        raise refusal(
            QueryErrorCategory.VALIDATION,
            "job.runtime_config_not_found",
            "the job type has no runtime config",
            internal="jobs.get_required_job_runtime_config: no row with this type",
        )
    return config


@operation("jobs.list_job_runtime_configs")
def list_job_runtime_configs(
    *, job_type: str | None = None, limit: int = 100, offset: int = 0
) -> Steps[list[JobRuntimeConfig]]:
    """Return configs in the order of their type.

    Args:
        job_type: Only the config of this type.
        limit: The most rows to return.
        offset: Rows to skip.
    """
    check_limit(limit)
    check_offset(offset)
    document = encode_document(**text_filters(job_type=job_type), limit=limit, offset=offset)
    rows = yield Statement(sql=_LIST, document=document, is_only=True)
    return [decode_runtime_config(row) for row in rows]


@operation("jobs.delete_job_runtime_config")
def delete_job_runtime_config(job_type: str) -> Steps[bool]:
    """Forget the config of a job type, and tell whether it had one."""
    check_text("job_type", job_type)
    rows = yield Statement(sql=_DELETE, document=encode_document(job_type=job_type), is_only=True)
    return bool(rows)


def _get(job_type: str) -> Steps[JobRuntimeConfig | None]:
    check_text("job_type", job_type)
    rows = yield Statement(sql=_GET, document=encode_document(job_type=job_type), is_only=True)
    return decode_runtime_config(rows[0]) if rows else None


def _document(job_type: str, config: JsonEncodable, schema_version: int, updated_by_user_id: UUID | None) -> str:
    check_identifier(job_type, field="job_type", blank_error=BlankJobTypeError)
    check_int32("schema_version", schema_version, minimum=1)
    config_json = encode_json(config, field="config")
    if not config_json.startswith("{"):
        raise InvalidArgumentError(
            "config", "is no JSON object", "pass a dict with string keys, or a dataclass instance"
        )
    head = encode_document(job_type=job_type, schema_version=schema_version, updated_by_user_id=updated_by_user_id)
    return f'{head[:-1]},"config":{config_json}}}'
