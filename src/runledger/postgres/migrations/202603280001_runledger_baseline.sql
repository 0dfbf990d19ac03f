-- The tables, types, checks and indexes of Runledger.
--
-- Read from top to bottom: types, jobs, their history, schedules and operator tables, workflows, the
-- linkage between both, metrics. Every object is named with its schema; nothing here depends on search_path.
--
-- Three rules explain most of what looks unusual (docs/decisions has the figures):
--   * No trigger keeps updated_at: each statement sets it. A row trigger costs a third of the drain rate.
--   * Attempts, events, logs and dead letters have no foreign key. They are written by the statements that
--     hold the lock of their job, and deleted together with it by one operation.
--   * Keys of these tables begin with job_id, a time-ordered UUID, so they can be partitioned by range of
--     job_id later without a change of key. An index exists only where a query needs it.

CREATE TYPE {schema}.job_status AS ENUM ('PENDING', 'LEASED', 'SUCCEEDED', 'DEAD_LETTERED', 'CANCELED');

CREATE TYPE {schema}.job_event_type AS ENUM (
    'ENQUEUED', 'LEASED', 'HEARTBEAT', 'STAGE_CHANGED', 'PROGRESS', 'RETRY_SCHEDULED',
    'SUCCEEDED', 'FAILED', 'DEAD_LETTERED', 'CANCELED', 'REQUEUED');

CREATE TYPE {schema}.job_failure_kind AS ENUM ('RETRYABLE', 'TERMINAL', 'PANICKED', 'TIMEOUT', 'LEASE_EXPIRED');

CREATE TYPE {schema}.workflow_run_status AS ENUM (
    'RUNNING', 'WAITING_FOR_EXTERNAL', 'SUCCEEDED', 'COMPLETED_WITH_ERRORS', 'CANCELED');

CREATE TYPE {schema}.workflow_step_status AS ENUM (
    'BLOCKED', 'WAITING_FOR_EXTERNAL', 'ENQUEUED', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELED');

CREATE TYPE {schema}.workflow_dependency_release_mode AS ENUM ('ON_TERMINAL', 'ON_SUCCESS');

CREATE TYPE {schema}.workflow_step_execution_kind AS ENUM ('JOB', 'EXTERNAL');


-- Jobs ---------------------------------------------------------------------------------------------------

-- catalog_scope names the catalog that owns a definition. absent_since tells that the catalog has disabled it, because it
-- does not declare it any more, from a person who has.
CREATE TABLE {schema}.job_definitions (
    job_type                 text PRIMARY KEY,
    version                  integer NOT NULL DEFAULT 1,
    max_attempts             integer NOT NULL DEFAULT 8,
    default_timeout_seconds  integer NOT NULL DEFAULT 900,
    default_priority         integer NOT NULL DEFAULT 100,
    is_enabled               boolean NOT NULL DEFAULT true,
    paused_at                timestamptz,
    catalog_scope            text,
    absent_since             timestamptz,
    created_at               timestamptz NOT NULL DEFAULT now(),
    updated_at               timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT chk_job_definitions_absent CHECK (
        absent_since IS NULL OR (catalog_scope IS NOT NULL AND NOT is_enabled)),
    CONSTRAINT chk_job_definitions_type_not_blank CHECK (length(trim(job_type)) > 0),
    CONSTRAINT chk_job_definitions_version_positive CHECK (version > 0),
    CONSTRAINT chk_job_definitions_max_attempts_positive CHECK (max_attempts > 0),
    CONSTRAINT chk_job_definitions_timeout_positive CHECK (default_timeout_seconds > 0)
);

-- Each claim asks which types are paused. Mostly there is none, and this one page says so.
CREATE INDEX idx_job_definitions_paused ON {schema}.job_definitions (job_type) WHERE paused_at IS NOT NULL;

CREATE TABLE {schema}.job_queue (
    id                         uuid PRIMARY KEY DEFAULT uuidv7(),
    job_type                   text NOT NULL,
    organization_id            uuid,
    payload                    jsonb NOT NULL DEFAULT '{}',
    status                     {schema}.job_status NOT NULL DEFAULT 'PENDING',
    priority                   integer NOT NULL DEFAULT 100,
    run_number                 integer NOT NULL DEFAULT 1,
    attempt                    integer NOT NULL DEFAULT 0,
    max_attempts               integer NOT NULL,
    timeout_seconds            integer NOT NULL DEFAULT 900,
    next_run_at                timestamptz NOT NULL DEFAULT now(),
    lease_expires_at           timestamptz,
    last_heartbeat_at          timestamptz,
    worker_id                  text,
    started_at                 timestamptz,
    finished_at                timestamptz,
    stage                      text NOT NULL DEFAULT 'queued',
    progress_done              bigint,
    progress_total             bigint,
    -- Virtual: a stored one makes every update of the row a fifth dearer, and almost no job reports progress.
    progress_pct               numeric GENERATED ALWAYS AS (
        CASE WHEN progress_total > 0 THEN round(progress_done::numeric * 100 / progress_total, 2) END) VIRTUAL,
    checkpoint                 jsonb,
    output                     jsonb,
    idempotency_key            text,
    status_reason              text,
    last_error_code            text,
    last_error_message         text,
    workflow_step_id           uuid,
    canceled_lease_expires_at  timestamptz,
    created_at                 timestamptz NOT NULL DEFAULT now(),
    updated_at                 timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT fk_job_queue_job_type FOREIGN KEY (job_type)
        REFERENCES {schema}.job_definitions (job_type) ON DELETE RESTRICT,
    CONSTRAINT chk_job_queue_attempt_nonnegative CHECK (attempt >= 0),
    CONSTRAINT chk_job_queue_max_attempts_positive CHECK (max_attempts > 0),
    CONSTRAINT chk_job_queue_run_number_positive CHECK (run_number > 0),
    CONSTRAINT chk_job_queue_timeout_positive CHECK (timeout_seconds > 0),
    CONSTRAINT chk_job_queue_progress_nonnegative CHECK (
        (progress_done IS NULL OR progress_done >= 0)
        AND (progress_total IS NULL OR progress_total >= 0)
        AND (progress_done IS NULL OR progress_total IS NULL OR progress_done <= progress_total)),
    CONSTRAINT chk_job_queue_stage_not_blank CHECK (length(trim(stage)) > 0),
    CONSTRAINT chk_job_queue_worker_id_not_blank CHECK (worker_id IS NULL OR length(trim(worker_id)) > 0),
    CONSTRAINT chk_job_queue_idempotency_key_not_blank CHECK (
        idempotency_key IS NULL OR length(trim(idempotency_key)) > 0)
) WITH (
    -- A queue lives from prompt vacuums: each job leaves two dead row versions behind.
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05
);

-- Two indexes serve the claim in its order: of any type, and of one type whatever else waits. They hold only pending
-- rows, so finished history costs them nothing, and a claim takes a row out of them without writing to either.
-- attempt >= 0 holds for every row. A statement that does not say it cannot be planned with this index, which would walk
-- over all that waits of other types.
CREATE INDEX idx_job_queue_claim ON {schema}.job_queue (priority DESC, next_run_at, id)
    WHERE status = 'PENDING' AND attempt >= 0;

CREATE INDEX idx_job_queue_claim_type ON {schema}.job_queue (job_type, priority DESC, next_run_at, id)
    WHERE status = 'PENDING';

-- Serves the reaper, and the rare question which leases a worker holds.
CREATE INDEX idx_job_queue_leased_expiry ON {schema}.job_queue (lease_expires_at)
    WHERE status = 'LEASED';

-- Serves the lists of what people look for. Only jobs that were given up are in it; the others never write to it. They lie
-- far apart in the table, so what lists and counts filter by is in the index, too.
CREATE INDEX idx_job_queue_given_up ON {schema}.job_queue (status, id) INCLUDE (job_type, organization_id)
    WHERE status IN ('DEAD_LETTERED', 'CANCELED');

CREATE UNIQUE INDEX uq_job_queue_type_idempotency_org
    ON {schema}.job_queue (job_type, organization_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL AND organization_id IS NOT NULL;

CREATE UNIQUE INDEX uq_job_queue_type_idempotency_global
    ON {schema}.job_queue (job_type, idempotency_key)
    WHERE idempotency_key IS NOT NULL AND organization_id IS NULL;


-- The history of a job -----------------------------------------------------------------------------------

CREATE TABLE {schema}.job_attempts (
    job_id                          uuid NOT NULL,
    run_number                      integer NOT NULL DEFAULT 1,
    attempt                         integer NOT NULL,
    worker_id                       text NOT NULL,
    claim_origin                    text NOT NULL DEFAULT 'DIRECT',
    claim_id                        uuid,
    leased_at                       timestamptz NOT NULL,
    started_at                      timestamptz NOT NULL,
    execution_started_persisted_at  timestamptz,
    finished_at                     timestamptz,
    outcome                         {schema}.job_failure_kind,
    error_code                      text,
    error_message                   text,
    retry_delay_ms                  integer,
    created_at                      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT uq_job_attempts_job_run_attempt PRIMARY KEY (job_id, run_number, attempt),
    CONSTRAINT chk_job_attempts_attempt_positive CHECK (attempt > 0),
    CONSTRAINT chk_job_attempts_run_number_positive CHECK (run_number > 0),
    CONSTRAINT chk_job_attempts_worker_id_not_blank CHECK (length(trim(worker_id)) > 0),
    CONSTRAINT chk_job_attempts_retry_delay_nonnegative CHECK (retry_delay_ms IS NULL OR retry_delay_ms >= 0),
    CONSTRAINT chk_job_attempts_claim_origin CHECK (claim_origin IN ('DIRECT', 'WORKER_PRESTART'))
) WITH (
    -- Each attempt is updated once, when it ends, usually together with its whole page: half the page left free
    -- lets all those updates stay on it (HOT), which spares the log and the index one entry per attempt.
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.05
);

-- A block-range index costs next to nothing to keep and serves the time windows of metrics and pruning.
CREATE INDEX idx_job_attempts_created_at ON {schema}.job_attempts USING brin (created_at);

CREATE TABLE {schema}.job_events (
    id              bigint GENERATED ALWAYS AS IDENTITY,
    job_id          uuid NOT NULL,
    run_number      integer NOT NULL DEFAULT 1,
    attempt         integer,
    event_type      {schema}.job_event_type NOT NULL,
    stage           text,
    progress_done   bigint,
    progress_total  bigint,
    payload         jsonb NOT NULL DEFAULT '{}',
    occurred_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_job_events PRIMARY KEY (job_id, id),
    CONSTRAINT chk_job_events_run_number_positive CHECK (run_number > 0),
    CONSTRAINT chk_job_events_attempt_nonnegative CHECK (attempt IS NULL OR attempt > 0),
    CONSTRAINT chk_job_events_stage_not_blank CHECK (stage IS NULL OR length(trim(stage)) > 0),
    CONSTRAINT chk_job_events_progress_nonnegative CHECK (
        (progress_done IS NULL OR progress_done >= 0)
        AND (progress_total IS NULL OR progress_total >= 0)
        AND (progress_done IS NULL OR progress_total IS NULL OR progress_done <= progress_total))
);

-- Serves those who follow the events of all jobs. Entries are added at its end only, in full pages.
CREATE INDEX idx_job_events_id ON {schema}.job_events (id);

CREATE INDEX idx_job_events_occurred_at ON {schema}.job_events USING brin (occurred_at);

CREATE TABLE {schema}.job_dead_letters (
    job_id               uuid PRIMARY KEY,
    job_type             text NOT NULL,
    organization_id      uuid,
    run_number           integer NOT NULL DEFAULT 1,
    attempt              integer NOT NULL,
    error_code           text,
    error_message        text,
    payload_snapshot     jsonb NOT NULL,
    checkpoint_snapshot  jsonb,
    failed_at            timestamptz NOT NULL,
    created_at           timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT chk_job_dead_letters_run_number_positive CHECK (run_number > 0),
    CONSTRAINT chk_job_dead_letters_attempt_positive CHECK (attempt > 0)
);

CREATE INDEX idx_job_dead_letters_failed_at ON {schema}.job_dead_letters (failed_at DESC);

CREATE TABLE {schema}.job_logs (
    id           bigint GENERATED ALWAYS AS IDENTITY,
    job_id       uuid NOT NULL,
    run_number   integer NOT NULL DEFAULT 1,
    attempt      integer,
    level        text NOT NULL,
    message      text NOT NULL,
    payload      jsonb NOT NULL DEFAULT '{}',
    occurred_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_job_logs PRIMARY KEY (job_id, id),
    CONSTRAINT chk_job_logs_run_number_positive CHECK (run_number > 0),
    CONSTRAINT chk_job_logs_attempt_nonnegative CHECK (attempt IS NULL OR attempt >= 0),
    CONSTRAINT chk_job_logs_level_not_blank CHECK (length(trim(level)) > 0),
    CONSTRAINT chk_job_logs_message_not_blank CHECK (length(trim(message)) > 0)
);


-- Schedules, configuration, live workers -----------------------------------------------------------------

-- next_fire_at is when a scheduler looks at the schedule next. A due time that could not fire is in deferred_due_at until
-- it can; next_fire_at is then when that is tried again. next_fire_set_at is when a person has set the due time that
-- waits, NULL where the expression did. absent_since tells a pause by the catalog from one by a person.
CREATE TABLE {schema}.job_schedules (
    id                  uuid PRIMARY KEY DEFAULT uuidv7(),
    name                text NOT NULL,
    job_type            text NOT NULL,
    organization_id     uuid,
    payload_template    jsonb NOT NULL DEFAULT '{}',
    cron_expr           text NOT NULL,
    timezone            text NOT NULL DEFAULT 'UTC',
    is_active           boolean NOT NULL DEFAULT true,
    next_fire_at        timestamptz NOT NULL,
    next_fire_set_at    timestamptz,
    deferred_due_at     timestamptz,
    last_fired_at       timestamptz,
    last_job_id         uuid,
    max_jitter_seconds  integer NOT NULL DEFAULT 0,
    catch_up            text NOT NULL DEFAULT 'latest',
    catch_up_limit      integer NOT NULL DEFAULT 100,
    overlap             text NOT NULL DEFAULT 'allow',
    owner               text NOT NULL DEFAULT 'operator',
    catalog_scope       text,
    absent_since        timestamptz,
    created_by_user_id  uuid,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT uq_job_schedules_name UNIQUE (name),
    CONSTRAINT fk_job_schedules_job_type FOREIGN KEY (job_type)
        REFERENCES {schema}.job_definitions (job_type) ON DELETE RESTRICT,
    CONSTRAINT chk_job_schedules_name_not_blank CHECK (length(trim(name)) > 0),
    CONSTRAINT chk_job_schedules_cron_not_blank CHECK (length(trim(cron_expr)) > 0),
    CONSTRAINT chk_job_schedules_timezone_not_blank CHECK (length(trim(timezone)) > 0),
    CONSTRAINT chk_job_schedules_next_fire_in_range CHECK (
        next_fire_at >= '0002-01-01 00:00+00' AND next_fire_at < '9998-01-01 00:00+00'),
    CONSTRAINT chk_job_schedules_jitter CHECK (max_jitter_seconds BETWEEN 0 AND 86400),
    CONSTRAINT chk_job_schedules_catch_up CHECK (catch_up IN ('latest', 'skip', 'all')),
    CONSTRAINT chk_job_schedules_catch_up_limit CHECK (catch_up_limit BETWEEN 1 AND 1000),
    CONSTRAINT chk_job_schedules_overlap CHECK (overlap IN ('allow', 'skip')),
    CONSTRAINT chk_job_schedules_owner CHECK (
        (owner = 'operator' AND catalog_scope IS NULL) OR (owner = 'catalog' AND catalog_scope IS NOT NULL)),
    CONSTRAINT chk_job_schedules_absent CHECK (absent_since IS NULL OR (owner = 'catalog' AND NOT is_active))
);

CREATE INDEX idx_job_schedules_next_fire ON {schema}.job_schedules (next_fire_at) WHERE is_active;

-- Whether a definition may be disabled.
CREATE INDEX idx_job_schedules_job_type ON {schema}.job_schedules (job_type) WHERE is_active;

CREATE TABLE {schema}.job_runtime_configs (
    job_type            text PRIMARY KEY,
    schema_version      integer NOT NULL,
    config              jsonb NOT NULL,
    updated_by_user_id  uuid,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT fk_job_runtime_configs_job_type FOREIGN KEY (job_type)
        REFERENCES {schema}.job_definitions (job_type) ON DELETE CASCADE,
    CONSTRAINT chk_job_runtime_configs_schema_version_positive CHECK (schema_version > 0),
    CONSTRAINT chk_job_runtime_configs_config_object CHECK (jsonb_typeof(config) = 'object')
);

-- A row for each live worker. instance_id is that of its process; after expires_at, which each heartbeat moves by
-- the worker's lease time, the worker is taken for dead.
CREATE TABLE {schema}.job_workers (
    worker_id     text PRIMARY KEY,
    instance_id   uuid NOT NULL,
    hostname      text NOT NULL,
    process_id    integer NOT NULL,
    version       text NOT NULL,
    job_types     text[] NOT NULL,
    slots         integer NOT NULL,
    started_at    timestamptz NOT NULL DEFAULT now(),
    heartbeat_at  timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz NOT NULL,
    stopping_at   timestamptz,
    CONSTRAINT chk_job_workers_worker_id_not_blank CHECK (length(trim(worker_id)) > 0),
    CONSTRAINT chk_job_workers_slots_positive CHECK (slots > 0)
);


-- Workflows ----------------------------------------------------------------------------------------------

-- The row of a run is its lock: whoever ends a step, appends steps or cancels the run holds it (docs/explanation/
-- lock-order.md). So it can keep how many steps are where, and no end of a step has to look at the others. `result` is
-- set when the result step succeeds; an output that is none is JSON null there.
CREATE TABLE {schema}.workflow_runs (
    id                       uuid PRIMARY KEY DEFAULT uuidv7(),
    workflow_type            text NOT NULL,
    organization_id          uuid,
    status                   {schema}.workflow_run_status NOT NULL DEFAULT 'RUNNING',
    idempotency_key          text,
    metadata                 jsonb NOT NULL DEFAULT '{}',
    result_step_key          text,
    result                   jsonb,
    step_count_total         integer NOT NULL DEFAULT 0,
    step_count_active        integer NOT NULL DEFAULT 0,
    step_count_waiting       integer NOT NULL DEFAULT 0,
    step_count_unsuccessful  integer NOT NULL DEFAULT 0,
    started_at               timestamptz NOT NULL DEFAULT now(),
    finished_at              timestamptz,
    created_at               timestamptz NOT NULL DEFAULT now(),
    updated_at               timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT chk_workflow_runs_type_not_blank CHECK (length(trim(workflow_type)) > 0),
    CONSTRAINT chk_workflow_runs_idempotency_key_not_blank CHECK (
        idempotency_key IS NULL OR length(trim(idempotency_key)) > 0),
    CONSTRAINT chk_workflow_runs_result_step_key_not_blank CHECK (
        result_step_key IS NULL OR length(trim(result_step_key)) > 0),
    CONSTRAINT chk_workflow_runs_step_counts CHECK (
        step_count_active >= 0 AND step_count_waiting >= 0 AND step_count_unsuccessful >= 0
        AND step_count_active + step_count_waiting + step_count_unsuccessful <= step_count_total)
) WITH (
    -- Each end of a step changes the row of its run; half the page left free keeps these changes on it (HOT).
    fillfactor = 50
);

CREATE UNIQUE INDEX uq_workflow_runs_type_idempotency_org
    ON {schema}.workflow_runs (workflow_type, organization_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL AND organization_id IS NOT NULL;

CREATE UNIQUE INDEX uq_workflow_runs_type_idempotency_global
    ON {schema}.workflow_runs (workflow_type, idempotency_key)
    WHERE idempotency_key IS NOT NULL AND organization_id IS NULL;

-- Serves the list of runs that somebody has to decide in; most of them are RUNNING, so their status does not find them. Only
-- runs with an open gate are in it. A gate that opens or ends takes the row of its run off its page (no HOT update); runs
-- without gates never write to it.
CREATE INDEX idx_workflow_runs_waiting ON {schema}.workflow_runs (id) WHERE step_count_waiting > 0;

CREATE TABLE {schema}.workflow_steps (
    id                            uuid PRIMARY KEY DEFAULT uuidv7(),
    workflow_run_id               uuid NOT NULL,
    step_key                      text NOT NULL,
    execution_kind                {schema}.workflow_step_execution_kind NOT NULL DEFAULT 'JOB',
    job_type                      text,
    organization_id               uuid,
    payload                       jsonb NOT NULL DEFAULT '{}',
    priority                      integer,
    max_attempts                  integer,
    timeout_seconds               integer,
    stage                         text,
    status                        {schema}.workflow_step_status NOT NULL DEFAULT 'BLOCKED',
    job_id                        uuid,
    output                        jsonb,
    released_at                   timestamptz,
    started_at                    timestamptz,
    finished_at                   timestamptz,
    dependency_count_total        integer NOT NULL DEFAULT 0,
    dependency_count_pending      integer NOT NULL DEFAULT 0,
    dependency_count_unsatisfied  integer NOT NULL DEFAULT 0,
    status_reason                 text,
    last_error_code               text,
    last_error_message            text,
    created_at                    timestamptz NOT NULL DEFAULT now(),
    updated_at                    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT uq_workflow_steps_run_step_key UNIQUE (workflow_run_id, step_key),
    CONSTRAINT uq_workflow_steps_run_step_id UNIQUE (workflow_run_id, id),
    CONSTRAINT fk_workflow_steps_run FOREIGN KEY (workflow_run_id)
        REFERENCES {schema}.workflow_runs (id) ON DELETE CASCADE,
    CONSTRAINT fk_workflow_steps_job_type FOREIGN KEY (job_type)
        REFERENCES {schema}.job_definitions (job_type) ON DELETE RESTRICT,
    CONSTRAINT chk_workflow_steps_step_key_not_blank CHECK (length(trim(step_key)) > 0),
    CONSTRAINT chk_workflow_steps_max_attempts_positive CHECK (max_attempts IS NULL OR max_attempts > 0),
    CONSTRAINT chk_workflow_steps_timeout_positive CHECK (timeout_seconds IS NULL OR timeout_seconds > 0),
    CONSTRAINT chk_workflow_steps_dependency_counts_nonnegative CHECK (
        dependency_count_total >= 0
        AND dependency_count_pending BETWEEN 0 AND dependency_count_total
        AND dependency_count_unsatisfied BETWEEN 0 AND dependency_count_total),
    CONSTRAINT chk_workflow_steps_execution_shape CHECK (
        CASE execution_kind
            WHEN 'JOB' THEN num_nulls(job_type, priority, max_attempts, timeout_seconds, stage) = 0
            WHEN 'EXTERNAL' THEN num_nonnulls(job_id, job_type, priority, max_attempts, timeout_seconds, stage) = 0
        END)
) WITH (
    -- A step is changed by its release, its claim and its end; the last two touch no index and stay on the page (HOT).
    fillfactor = 60
);

CREATE TABLE {schema}.workflow_step_dependencies (
    workflow_run_id       uuid NOT NULL,
    prerequisite_step_id  uuid NOT NULL,
    dependent_step_id     uuid NOT NULL,
    release_mode          {schema}.workflow_dependency_release_mode NOT NULL DEFAULT 'ON_TERMINAL',
    created_at            timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_workflow_step_dependencies
        PRIMARY KEY (workflow_run_id, prerequisite_step_id, dependent_step_id),
    CONSTRAINT fk_workflow_step_dependencies_run FOREIGN KEY (workflow_run_id)
        REFERENCES {schema}.workflow_runs (id) ON DELETE CASCADE,
    CONSTRAINT fk_workflow_step_dependencies_prerequisite FOREIGN KEY (workflow_run_id, prerequisite_step_id)
        REFERENCES {schema}.workflow_steps (workflow_run_id, id) ON DELETE CASCADE,
    CONSTRAINT fk_workflow_step_dependencies_dependent FOREIGN KEY (workflow_run_id, dependent_step_id)
        REFERENCES {schema}.workflow_steps (workflow_run_id, id) ON DELETE CASCADE,
    CONSTRAINT chk_workflow_step_dependencies_not_self CHECK (prerequisite_step_id <> dependent_step_id)
);

CREATE INDEX idx_workflow_step_dependencies_dependent
    ON {schema}.workflow_step_dependencies (workflow_run_id, dependent_step_id);

CREATE TABLE {schema}.workflow_run_mutations (
    id               uuid PRIMARY KEY DEFAULT uuidv7(),
    workflow_run_id  uuid NOT NULL,
    mutation_key     text NOT NULL,
    metadata         jsonb NOT NULL DEFAULT '{}',
    request          jsonb NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT uq_workflow_run_mutations_run_mutation_key UNIQUE (workflow_run_id, mutation_key),
    CONSTRAINT fk_workflow_run_mutations_run FOREIGN KEY (workflow_run_id)
        REFERENCES {schema}.workflow_runs (id) ON DELETE CASCADE,
    CONSTRAINT chk_workflow_run_mutations_mutation_key_not_blank CHECK (length(trim(mutation_key)) > 0)
);


-- Linkage of jobs and steps ------------------------------------------------------------------------------

-- A job of a workflow and its step point at each other, and neither changes while both are there. An assertion, not a
-- mechanism: the statements write both directions, the check at commit proves it. So there are no foreign keys and no unique
-- indexes for the two columns: one job per step and one step per job follow, and what no query needs would be paid by each
-- release. What ON DELETE SET NULL would do is done by the triggers below, which only a deletion pays for.
CREATE FUNCTION {schema}.enforce_workflow_job_linkage_symmetry() RETURNS trigger
LANGUAGE plpgsql AS $function$
DECLARE
    is_symmetric boolean;
BEGIN
    IF TG_TABLE_NAME = 'job_queue' THEN
        SELECT coalesce(bool_and(
                   q.workflow_step_id IS NULL OR EXISTS (
                       SELECT FROM {schema}.workflow_steps s WHERE s.id = q.workflow_step_id AND s.job_id = q.id)), true)
          INTO is_symmetric
          FROM {schema}.job_queue q WHERE q.id = NEW.id;
        IF is_symmetric AND TG_OP = 'UPDATE' AND OLD.workflow_step_id IS NOT NULL THEN
            SELECT NOT EXISTS (
                       SELECT FROM {schema}.workflow_steps s JOIN {schema}.job_queue q ON q.id = s.job_id
                        WHERE s.id = OLD.workflow_step_id AND q.id = NEW.id
                          AND q.workflow_step_id IS DISTINCT FROM s.id)
              INTO is_symmetric;
        END IF;
    ELSIF TG_TABLE_NAME = 'workflow_steps' THEN
        SELECT coalesce(bool_and(
                   s.job_id IS NULL OR EXISTS (
                       SELECT FROM {schema}.job_queue q WHERE q.id = s.job_id AND q.workflow_step_id = s.id)), true)
          INTO is_symmetric
          FROM {schema}.workflow_steps s WHERE s.id = NEW.id;
        IF is_symmetric AND TG_OP = 'UPDATE' AND OLD.job_id IS NOT NULL THEN
            SELECT NOT EXISTS (
                       SELECT FROM {schema}.job_queue q JOIN {schema}.workflow_steps s ON s.id = q.workflow_step_id
                        WHERE q.id = OLD.job_id AND s.id = NEW.id AND s.job_id IS DISTINCT FROM q.id)
              INTO is_symmetric;
        END IF;
    ELSE
        RAISE EXCEPTION 'enforce_workflow_job_linkage_symmetry does not know table %', TG_TABLE_NAME
            USING ERRCODE = '23514', CONSTRAINT = 'os_workflow_job_linkage_symmetry_trigger_table';
    END IF;
    IF NOT is_symmetric THEN
        RAISE EXCEPTION 'a job and its workflow step must point at each other'
            USING ERRCODE = '23514', CONSTRAINT = 'os_workflow_job_linkage_symmetry';
    END IF;
    RETURN NULL;
END
$function$;

-- Two triggers a table, because an INSERT trigger cannot compare with OLD and a plain job must queue no check.
CREATE CONSTRAINT TRIGGER trg_job_queue_workflow_step_linkage_symmetry
    AFTER INSERT ON {schema}.job_queue DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.workflow_step_id IS NOT NULL)
    EXECUTE FUNCTION {schema}.enforce_workflow_job_linkage_symmetry();

CREATE CONSTRAINT TRIGGER trg_job_queue_workflow_step_linkage_symmetry_update
    AFTER UPDATE OF workflow_step_id ON {schema}.job_queue DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (OLD.workflow_step_id IS DISTINCT FROM NEW.workflow_step_id)
    EXECUTE FUNCTION {schema}.enforce_workflow_job_linkage_symmetry();

CREATE CONSTRAINT TRIGGER trg_workflow_steps_job_linkage_symmetry
    AFTER INSERT ON {schema}.workflow_steps DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.job_id IS NOT NULL)
    EXECUTE FUNCTION {schema}.enforce_workflow_job_linkage_symmetry();

CREATE CONSTRAINT TRIGGER trg_workflow_steps_job_linkage_symmetry_update
    AFTER UPDATE OF job_id ON {schema}.workflow_steps DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (OLD.job_id IS DISTINCT FROM NEW.job_id)
    EXECUTE FUNCTION {schema}.enforce_workflow_job_linkage_symmetry();

-- A step is deleted with its run. Its job stays, and is a plain one from then on.
CREATE FUNCTION {schema}.unlink_jobs_of_deleted_steps() RETURNS trigger
LANGUAGE plpgsql AS $function$
BEGIN
    UPDATE {schema}.job_queue
       SET workflow_step_id = NULL, updated_at = now()
     WHERE id = ANY (ARRAY(SELECT job_id FROM deleted_step WHERE job_id IS NOT NULL));
    RETURN NULL;
END
$function$;

CREATE TRIGGER trg_workflow_steps_unlink_jobs
    AFTER DELETE ON {schema}.workflow_steps REFERENCING OLD TABLE AS deleted_step
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.unlink_jobs_of_deleted_steps();

-- Jobs are locked before steps (docs/explanation/lock-order.md): a claim that holds a job and is about to move its step
-- would deadlock with a deletion that has the step and wants the job. The row of the run is locked already.
CREATE FUNCTION {schema}.lock_jobs_of_deleted_run() RETURNS trigger
LANGUAGE plpgsql AS $function$
BEGIN
    PERFORM FROM {schema}.job_queue
      WHERE id = ANY (ARRAY(
            SELECT job_id FROM {schema}.workflow_steps WHERE workflow_run_id = OLD.id AND job_id IS NOT NULL))
      ORDER BY id
        FOR NO KEY UPDATE;
    RETURN OLD;
END
$function$;

CREATE TRIGGER trg_workflow_runs_lock_jobs
    BEFORE DELETE ON {schema}.workflow_runs
    FOR EACH ROW EXECUTE FUNCTION {schema}.lock_jobs_of_deleted_run();

-- A step that has ended forgets its job. One that has not would wait for it for ever, so that job cannot be deleted.
CREATE FUNCTION {schema}.unlink_step_of_deleted_job() RETURNS trigger
LANGUAGE plpgsql AS $function$
DECLARE
    is_open boolean;
BEGIN
    UPDATE {schema}.workflow_steps
       SET job_id = NULL, updated_at = now()
     WHERE id = OLD.workflow_step_id AND job_id = OLD.id
    RETURNING status IN ('ENQUEUED', 'RUNNING') INTO is_open;
    IF is_open THEN
        RAISE EXCEPTION 'the job of a workflow step that has not ended cannot be deleted'
            USING ERRCODE = '23514', CONSTRAINT = 'os_workflow_job_linkage_symmetry',
                  HINT = 'Cancel the job or its workflow run first, or delete the run.';
    END IF;
    RETURN NULL;
END
$function$;

CREATE TRIGGER trg_job_queue_unlink_step
    AFTER DELETE ON {schema}.job_queue
    FOR EACH ROW WHEN (OLD.workflow_step_id IS NOT NULL)
    EXECUTE FUNCTION {schema}.unlink_step_of_deleted_job();


-- Metrics ------------------------------------------------------------------------------------------------

-- One row per organisation and job type that any of the four sources knows. NULL organisations are grouped
-- together, which is why the parts meet by UNION ALL and GROUP BY rather than by joins.
CREATE VIEW {schema}.job_metrics_rollup AS
WITH part AS (
    SELECT organization_id, job_type,
           count(*) FILTER (WHERE status = 'PENDING') AS pending_count,
           count(*) FILTER (WHERE status = 'LEASED') AS leased_count,
           count(*) FILTER (WHERE status = 'LEASED' AND lease_expires_at < now()) AS stale_leases,
           0::bigint AS succeeded_24h, 0::bigint AS retryable_24h, 0::bigint AS terminal_24h,
           0::bigint AS panicked_24h, 0::bigint AS timeout_24h, 0::bigint AS dead_lettered_24h,
           NULL::double precision AS p50_duration_ms_24h, NULL::double precision AS p95_duration_ms_24h
      FROM {schema}.job_queue
     WHERE status IN ('PENDING', 'LEASED')
     GROUP BY organization_id, job_type
    UNION ALL
    SELECT q.organization_id, q.job_type, 0, 0, 0, count(*), 0, 0, 0, 0, 0, NULL, NULL
      FROM {schema}.job_events e
      JOIN {schema}.job_queue q ON q.id = e.job_id
     WHERE e.event_type = 'SUCCEEDED' AND e.occurred_at >= now() - interval '24 hours'
     GROUP BY q.organization_id, q.job_type
    UNION ALL
    SELECT q.organization_id, q.job_type, 0, 0, 0, 0,
           count(*) FILTER (WHERE a.outcome = 'RETRYABLE'),
           count(*) FILTER (WHERE a.outcome = 'TERMINAL'),
           count(*) FILTER (WHERE a.outcome = 'PANICKED'),
           count(*) FILTER (WHERE a.outcome = 'TIMEOUT'),
           0,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM a.finished_at - a.started_at)::double precision * 1000),
           percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM a.finished_at - a.started_at)::double precision * 1000)
      FROM {schema}.job_attempts a
      JOIN {schema}.job_queue q ON q.id = a.job_id
     WHERE a.finished_at IS NOT NULL AND a.created_at >= now() - interval '24 hours'
     GROUP BY q.organization_id, q.job_type
    UNION ALL
    SELECT organization_id, job_type, 0, 0, 0, 0, 0, 0, 0, 0, count(*), NULL, NULL
      FROM {schema}.job_dead_letters
     WHERE failed_at >= now() - interval '24 hours'
     GROUP BY organization_id, job_type
)
SELECT organization_id, job_type,
       sum(pending_count)::bigint AS pending_count,
       sum(leased_count)::bigint AS leased_count,
       sum(stale_leases)::bigint AS stale_leases,
       sum(succeeded_24h)::bigint AS succeeded_24h,
       sum(retryable_24h)::bigint AS retryable_24h,
       sum(terminal_24h)::bigint AS terminal_24h,
       sum(panicked_24h)::bigint AS panicked_24h,
       sum(timeout_24h)::bigint AS timeout_24h,
       sum(dead_lettered_24h)::bigint AS dead_lettered_24h,
       max(p50_duration_ms_24h) AS p50_duration_ms_24h,
       max(p95_duration_ms_24h) AS p95_duration_ms_24h
  FROM part
 GROUP BY organization_id, job_type;
