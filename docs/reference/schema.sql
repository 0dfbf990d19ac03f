-- The schema after all migrations. Written by `make schema-dump`; do not edit.

CREATE SCHEMA runledger;

CREATE TYPE runledger.job_event_type AS ENUM (
    'ENQUEUED',
    'LEASED',
    'HEARTBEAT',
    'STAGE_CHANGED',
    'PROGRESS',
    'RETRY_SCHEDULED',
    'SUCCEEDED',
    'FAILED',
    'DEAD_LETTERED',
    'CANCELED',
    'REQUEUED'
);

CREATE TYPE runledger.job_failure_kind AS ENUM (
    'RETRYABLE',
    'TERMINAL',
    'PANICKED',
    'TIMEOUT',
    'LEASE_EXPIRED'
);

CREATE TYPE runledger.job_status AS ENUM (
    'PENDING',
    'LEASED',
    'SUCCEEDED',
    'DEAD_LETTERED',
    'CANCELED'
);

CREATE TYPE runledger.workflow_dependency_release_mode AS ENUM (
    'ON_TERMINAL',
    'ON_SUCCESS'
);

CREATE TYPE runledger.workflow_run_status AS ENUM (
    'RUNNING',
    'WAITING_FOR_EXTERNAL',
    'SUCCEEDED',
    'COMPLETED_WITH_ERRORS',
    'CANCELED'
);

CREATE TYPE runledger.workflow_step_execution_kind AS ENUM (
    'JOB',
    'EXTERNAL'
);

CREATE TYPE runledger.workflow_step_status AS ENUM (
    'BLOCKED',
    'WAITING_FOR_EXTERNAL',
    'ENQUEUED',
    'RUNNING',
    'SUCCEEDED',
    'FAILED',
    'CANCELED'
);

CREATE FUNCTION runledger.enforce_workflow_job_linkage_symmetry() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    is_symmetric boolean;
BEGIN
    IF TG_TABLE_NAME = 'job_queue' THEN
        SELECT coalesce(bool_and(
                   q.workflow_step_id IS NULL OR EXISTS (
                       SELECT FROM "runledger".workflow_steps s WHERE s.id = q.workflow_step_id AND s.job_id = q.id)), true)
          INTO is_symmetric
          FROM "runledger".job_queue q WHERE q.id = NEW.id;
        IF is_symmetric AND TG_OP = 'UPDATE' AND OLD.workflow_step_id IS NOT NULL THEN
            SELECT NOT EXISTS (
                       SELECT FROM "runledger".workflow_steps s JOIN "runledger".job_queue q ON q.id = s.job_id
                        WHERE s.id = OLD.workflow_step_id AND q.id = NEW.id
                          AND q.workflow_step_id IS DISTINCT FROM s.id)
              INTO is_symmetric;
        END IF;
    ELSIF TG_TABLE_NAME = 'workflow_steps' THEN
        SELECT coalesce(bool_and(
                   s.job_id IS NULL OR EXISTS (
                       SELECT FROM "runledger".job_queue q WHERE q.id = s.job_id AND q.workflow_step_id = s.id)), true)
          INTO is_symmetric
          FROM "runledger".workflow_steps s WHERE s.id = NEW.id;
        IF is_symmetric AND TG_OP = 'UPDATE' AND OLD.job_id IS NOT NULL THEN
            SELECT NOT EXISTS (
                       SELECT FROM "runledger".job_queue q JOIN "runledger".workflow_steps s ON s.id = q.workflow_step_id
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
$$;

CREATE FUNCTION runledger.lock_jobs_of_deleted_run() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM FROM "runledger".job_queue
      WHERE id = ANY (ARRAY(
            SELECT job_id FROM "runledger".workflow_steps WHERE workflow_run_id = OLD.id AND job_id IS NOT NULL))
      ORDER BY id
        FOR NO KEY UPDATE;
    RETURN OLD;
END
$$;

CREATE FUNCTION runledger.unlink_jobs_of_deleted_steps() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE "runledger".job_queue
       SET workflow_step_id = NULL, updated_at = now()
     WHERE id = ANY (ARRAY(SELECT job_id FROM deleted_step WHERE job_id IS NOT NULL));
    RETURN NULL;
END
$$;

CREATE FUNCTION runledger.unlink_step_of_deleted_job() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    is_open boolean;
BEGIN
    UPDATE "runledger".workflow_steps
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
$$;

CREATE TABLE runledger.job_attempts (
    job_id uuid NOT NULL,
    run_number integer DEFAULT 1 NOT NULL,
    attempt integer NOT NULL,
    worker_id text NOT NULL,
    claim_origin text DEFAULT 'DIRECT'::text NOT NULL,
    claim_id uuid,
    leased_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone NOT NULL,
    execution_started_persisted_at timestamp with time zone,
    finished_at timestamp with time zone,
    outcome runledger.job_failure_kind,
    error_code text,
    error_message text,
    retry_delay_ms integer,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_job_attempts_attempt_positive CHECK ((attempt > 0)),
    CONSTRAINT chk_job_attempts_claim_origin CHECK ((claim_origin = ANY (ARRAY['DIRECT'::text, 'WORKER_PRESTART'::text]))),
    CONSTRAINT chk_job_attempts_retry_delay_nonnegative CHECK (((retry_delay_ms IS NULL) OR (retry_delay_ms >= 0))),
    CONSTRAINT chk_job_attempts_run_number_positive CHECK ((run_number > 0)),
    CONSTRAINT chk_job_attempts_worker_id_not_blank CHECK ((length(TRIM(BOTH FROM worker_id)) > 0))
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0.05');

CREATE TABLE runledger.job_dead_letters (
    job_id uuid NOT NULL,
    job_type text NOT NULL,
    organization_id uuid,
    run_number integer DEFAULT 1 NOT NULL,
    attempt integer NOT NULL,
    error_code text,
    error_message text,
    payload_snapshot jsonb NOT NULL,
    checkpoint_snapshot jsonb,
    failed_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_job_dead_letters_attempt_positive CHECK ((attempt > 0)),
    CONSTRAINT chk_job_dead_letters_run_number_positive CHECK ((run_number > 0))
);

CREATE TABLE runledger.job_definitions (
    job_type text NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    max_attempts integer DEFAULT 8 NOT NULL,
    default_timeout_seconds integer DEFAULT 900 NOT NULL,
    default_priority integer DEFAULT 100 NOT NULL,
    is_enabled boolean DEFAULT true NOT NULL,
    paused_at timestamp with time zone,
    catalog_scope text,
    absent_since timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_job_definitions_absent CHECK (((absent_since IS NULL) OR ((catalog_scope IS NOT NULL) AND (NOT is_enabled)))),
    CONSTRAINT chk_job_definitions_max_attempts_positive CHECK ((max_attempts > 0)),
    CONSTRAINT chk_job_definitions_timeout_positive CHECK ((default_timeout_seconds > 0)),
    CONSTRAINT chk_job_definitions_type_not_blank CHECK ((length(TRIM(BOTH FROM job_type)) > 0)),
    CONSTRAINT chk_job_definitions_version_positive CHECK ((version > 0))
);

CREATE TABLE runledger.job_events (
    id bigint NOT NULL,
    job_id uuid NOT NULL,
    run_number integer DEFAULT 1 NOT NULL,
    attempt integer,
    event_type runledger.job_event_type NOT NULL,
    stage text,
    progress_done bigint,
    progress_total bigint,
    payload jsonb DEFAULT '{}'::jsonb NOT NULL,
    occurred_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_job_events_attempt_nonnegative CHECK (((attempt IS NULL) OR (attempt > 0))),
    CONSTRAINT chk_job_events_progress_nonnegative CHECK ((((progress_done IS NULL) OR (progress_done >= 0)) AND ((progress_total IS NULL) OR (progress_total >= 0)) AND ((progress_done IS NULL) OR (progress_total IS NULL) OR (progress_done <= progress_total)))),
    CONSTRAINT chk_job_events_run_number_positive CHECK ((run_number > 0)),
    CONSTRAINT chk_job_events_stage_not_blank CHECK (((stage IS NULL) OR (length(TRIM(BOTH FROM stage)) > 0)))
);

ALTER TABLE runledger.job_events ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME runledger.job_events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE runledger.job_logs (
    id bigint NOT NULL,
    job_id uuid NOT NULL,
    run_number integer DEFAULT 1 NOT NULL,
    attempt integer,
    level text NOT NULL,
    message text NOT NULL,
    payload jsonb DEFAULT '{}'::jsonb NOT NULL,
    occurred_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_job_logs_attempt_nonnegative CHECK (((attempt IS NULL) OR (attempt >= 0))),
    CONSTRAINT chk_job_logs_level_not_blank CHECK ((length(TRIM(BOTH FROM level)) > 0)),
    CONSTRAINT chk_job_logs_message_not_blank CHECK ((length(TRIM(BOTH FROM message)) > 0)),
    CONSTRAINT chk_job_logs_run_number_positive CHECK ((run_number > 0))
);

ALTER TABLE runledger.job_logs ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME runledger.job_logs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE runledger.job_queue (
    id uuid DEFAULT uuidv7() NOT NULL,
    job_type text NOT NULL,
    organization_id uuid,
    payload jsonb DEFAULT '{}'::jsonb NOT NULL,
    status runledger.job_status DEFAULT 'PENDING'::runledger.job_status NOT NULL,
    priority integer DEFAULT 100 NOT NULL,
    run_number integer DEFAULT 1 NOT NULL,
    attempt integer DEFAULT 0 NOT NULL,
    max_attempts integer NOT NULL,
    timeout_seconds integer DEFAULT 900 NOT NULL,
    next_run_at timestamp with time zone DEFAULT now() NOT NULL,
    lease_expires_at timestamp with time zone,
    last_heartbeat_at timestamp with time zone,
    worker_id text,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    stage text DEFAULT 'queued'::text NOT NULL,
    progress_done bigint,
    progress_total bigint,
    progress_pct numeric GENERATED ALWAYS AS (
CASE
    WHEN (progress_total > 0) THEN round((((progress_done)::numeric * (100)::numeric) / (progress_total)::numeric), 2)
    ELSE NULL::numeric
END),
    checkpoint jsonb,
    output jsonb,
    idempotency_key text,
    status_reason text,
    last_error_code text,
    last_error_message text,
    workflow_step_id uuid,
    canceled_lease_expires_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    enqueue_request jsonb,
    CONSTRAINT chk_job_queue_attempt_nonnegative CHECK ((attempt >= 0)),
    CONSTRAINT chk_job_queue_idempotency_key_not_blank CHECK (((idempotency_key IS NULL) OR (length(TRIM(BOTH FROM idempotency_key)) > 0))),
    CONSTRAINT chk_job_queue_max_attempts_positive CHECK ((max_attempts > 0)),
    CONSTRAINT chk_job_queue_progress_nonnegative CHECK ((((progress_done IS NULL) OR (progress_done >= 0)) AND ((progress_total IS NULL) OR (progress_total >= 0)) AND ((progress_done IS NULL) OR (progress_total IS NULL) OR (progress_done <= progress_total)))),
    CONSTRAINT chk_job_queue_run_number_positive CHECK ((run_number > 0)),
    CONSTRAINT chk_job_queue_stage_not_blank CHECK ((length(TRIM(BOTH FROM stage)) > 0)),
    CONSTRAINT chk_job_queue_timeout_positive CHECK ((timeout_seconds > 0)),
    CONSTRAINT chk_job_queue_worker_id_not_blank CHECK (((worker_id IS NULL) OR (length(TRIM(BOTH FROM worker_id)) > 0))),
    CONSTRAINT ck_job_queue_idempotency_enqueue_request CHECK (((idempotency_key IS NULL) OR (enqueue_request IS NOT NULL)))
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_insert_scale_factor='0.05', autovacuum_analyze_scale_factor='0.05');

CREATE VIEW runledger.job_metrics_rollup AS
 WITH part AS (
         SELECT job_queue.organization_id,
            job_queue.job_type,
            count(*) FILTER (WHERE (job_queue.status = 'PENDING'::runledger.job_status)) AS pending_count,
            count(*) FILTER (WHERE (job_queue.status = 'LEASED'::runledger.job_status)) AS leased_count,
            count(*) FILTER (WHERE ((job_queue.status = 'LEASED'::runledger.job_status) AND (job_queue.lease_expires_at < now()))) AS stale_leases,
            (0)::bigint AS succeeded_24h,
            (0)::bigint AS retryable_24h,
            (0)::bigint AS terminal_24h,
            (0)::bigint AS panicked_24h,
            (0)::bigint AS timeout_24h,
            (0)::bigint AS dead_lettered_24h,
            NULL::double precision AS p50_duration_ms_24h,
            NULL::double precision AS p95_duration_ms_24h
           FROM runledger.job_queue
          WHERE (job_queue.status = ANY (ARRAY['PENDING'::runledger.job_status, 'LEASED'::runledger.job_status]))
          GROUP BY job_queue.organization_id, job_queue.job_type
        UNION ALL
         SELECT q.organization_id,
            q.job_type,
            0,
            0,
            0,
            count(*) AS count,
            0,
            0,
            0,
            0,
            0,
            NULL::double precision,
            NULL::double precision
           FROM (runledger.job_events e
             JOIN runledger.job_queue q ON ((q.id = e.job_id)))
          WHERE ((e.event_type = 'SUCCEEDED'::runledger.job_event_type) AND (e.occurred_at >= (now() - '24:00:00'::interval)))
          GROUP BY q.organization_id, q.job_type
        UNION ALL
         SELECT q.organization_id,
            q.job_type,
            0,
            0,
            0,
            0,
            count(*) FILTER (WHERE (a.outcome = 'RETRYABLE'::runledger.job_failure_kind)) AS count,
            count(*) FILTER (WHERE (a.outcome = 'TERMINAL'::runledger.job_failure_kind)) AS count,
            count(*) FILTER (WHERE (a.outcome = 'PANICKED'::runledger.job_failure_kind)) AS count,
            count(*) FILTER (WHERE (a.outcome = 'TIMEOUT'::runledger.job_failure_kind)) AS count,
            0,
            percentile_cont((0.5)::double precision) WITHIN GROUP (ORDER BY ((EXTRACT(epoch FROM (a.finished_at - a.started_at)))::double precision * (1000)::double precision)) AS percentile_cont,
            percentile_cont((0.95)::double precision) WITHIN GROUP (ORDER BY ((EXTRACT(epoch FROM (a.finished_at - a.started_at)))::double precision * (1000)::double precision)) AS percentile_cont
           FROM (runledger.job_attempts a
             JOIN runledger.job_queue q ON ((q.id = a.job_id)))
          WHERE ((a.finished_at IS NOT NULL) AND (a.created_at >= (now() - '24:00:00'::interval)))
          GROUP BY q.organization_id, q.job_type
        UNION ALL
         SELECT job_dead_letters.organization_id,
            job_dead_letters.job_type,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            count(*) AS count,
            NULL::double precision,
            NULL::double precision
           FROM runledger.job_dead_letters
          WHERE (job_dead_letters.failed_at >= (now() - '24:00:00'::interval))
          GROUP BY job_dead_letters.organization_id, job_dead_letters.job_type
        )
 SELECT organization_id,
    job_type,
    (sum(pending_count))::bigint AS pending_count,
    (sum(leased_count))::bigint AS leased_count,
    (sum(stale_leases))::bigint AS stale_leases,
    (sum(succeeded_24h))::bigint AS succeeded_24h,
    (sum(retryable_24h))::bigint AS retryable_24h,
    (sum(terminal_24h))::bigint AS terminal_24h,
    (sum(panicked_24h))::bigint AS panicked_24h,
    (sum(timeout_24h))::bigint AS timeout_24h,
    (sum(dead_lettered_24h))::bigint AS dead_lettered_24h,
    max(p50_duration_ms_24h) AS p50_duration_ms_24h,
    max(p95_duration_ms_24h) AS p95_duration_ms_24h
   FROM part
  GROUP BY organization_id, job_type;

CREATE TABLE runledger.job_runtime_configs (
    job_type text NOT NULL,
    schema_version integer NOT NULL,
    config jsonb NOT NULL,
    updated_by_user_id uuid,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_job_runtime_configs_config_object CHECK ((jsonb_typeof(config) = 'object'::text)),
    CONSTRAINT chk_job_runtime_configs_schema_version_positive CHECK ((schema_version > 0))
);

CREATE TABLE runledger.job_schedules (
    id uuid DEFAULT uuidv7() NOT NULL,
    name text NOT NULL,
    job_type text NOT NULL,
    organization_id uuid,
    payload_template jsonb DEFAULT '{}'::jsonb NOT NULL,
    cron_expr text NOT NULL,
    timezone text DEFAULT 'UTC'::text NOT NULL,
    is_active boolean DEFAULT true NOT NULL,
    next_fire_at timestamp with time zone NOT NULL,
    next_fire_set_at timestamp with time zone,
    deferred_due_at timestamp with time zone,
    last_fired_at timestamp with time zone,
    last_job_id uuid,
    max_jitter_seconds integer DEFAULT 0 NOT NULL,
    catch_up text DEFAULT 'latest'::text NOT NULL,
    catch_up_limit integer DEFAULT 100 NOT NULL,
    overlap text DEFAULT 'allow'::text NOT NULL,
    owner text DEFAULT 'operator'::text NOT NULL,
    catalog_scope text,
    absent_since timestamp with time zone,
    created_by_user_id uuid,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_job_schedules_absent CHECK (((absent_since IS NULL) OR ((owner = 'catalog'::text) AND (NOT is_active)))),
    CONSTRAINT chk_job_schedules_catch_up CHECK ((catch_up = ANY (ARRAY['latest'::text, 'skip'::text, 'all'::text]))),
    CONSTRAINT chk_job_schedules_catch_up_limit CHECK (((catch_up_limit >= 1) AND (catch_up_limit <= 1000))),
    CONSTRAINT chk_job_schedules_cron_not_blank CHECK ((length(TRIM(BOTH FROM cron_expr)) > 0)),
    CONSTRAINT chk_job_schedules_jitter CHECK (((max_jitter_seconds >= 0) AND (max_jitter_seconds <= 86400))),
    CONSTRAINT chk_job_schedules_name_not_blank CHECK ((length(TRIM(BOTH FROM name)) > 0)),
    CONSTRAINT chk_job_schedules_next_fire_in_range CHECK (((next_fire_at >= '0002-01-01 00:00:00+00'::timestamp with time zone) AND (next_fire_at < '9998-01-01 00:00:00+00'::timestamp with time zone))),
    CONSTRAINT chk_job_schedules_overlap CHECK ((overlap = ANY (ARRAY['allow'::text, 'skip'::text]))),
    CONSTRAINT chk_job_schedules_owner CHECK ((((owner = 'operator'::text) AND (catalog_scope IS NULL)) OR ((owner = 'catalog'::text) AND (catalog_scope IS NOT NULL)))),
    CONSTRAINT chk_job_schedules_timezone_not_blank CHECK ((length(TRIM(BOTH FROM timezone)) > 0))
);

CREATE TABLE runledger.job_workers (
    worker_id text NOT NULL,
    instance_id uuid NOT NULL,
    hostname text NOT NULL,
    process_id integer NOT NULL,
    version text NOT NULL,
    job_types text[] NOT NULL,
    slots integer NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    heartbeat_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    stopping_at timestamp with time zone,
    CONSTRAINT chk_job_workers_slots_positive CHECK ((slots > 0)),
    CONSTRAINT chk_job_workers_worker_id_not_blank CHECK ((length(TRIM(BOTH FROM worker_id)) > 0))
);

CREATE TABLE runledger.runledger_migration_history (
    version bigint NOT NULL,
    recorded_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE runledger.runledger_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL
);

CREATE TABLE runledger.workflow_run_mutations (
    id uuid DEFAULT uuidv7() NOT NULL,
    workflow_run_id uuid NOT NULL,
    mutation_key text NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    request jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_workflow_run_mutations_mutation_key_not_blank CHECK ((length(TRIM(BOTH FROM mutation_key)) > 0))
);

CREATE TABLE runledger.workflow_runs (
    id uuid DEFAULT uuidv7() NOT NULL,
    workflow_type text NOT NULL,
    organization_id uuid,
    status runledger.workflow_run_status DEFAULT 'RUNNING'::runledger.workflow_run_status NOT NULL,
    idempotency_key text,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    result_step_key text,
    result jsonb,
    step_count_total integer DEFAULT 0 NOT NULL,
    step_count_active integer DEFAULT 0 NOT NULL,
    step_count_waiting integer DEFAULT 0 NOT NULL,
    step_count_unsuccessful integer DEFAULT 0 NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    enqueue_request jsonb,
    CONSTRAINT chk_workflow_runs_idempotency_key_not_blank CHECK (((idempotency_key IS NULL) OR (length(TRIM(BOTH FROM idempotency_key)) > 0))),
    CONSTRAINT chk_workflow_runs_result_step_key_not_blank CHECK (((result_step_key IS NULL) OR (length(TRIM(BOTH FROM result_step_key)) > 0))),
    CONSTRAINT chk_workflow_runs_step_counts CHECK (((step_count_active >= 0) AND (step_count_waiting >= 0) AND (step_count_unsuccessful >= 0) AND (((step_count_active + step_count_waiting) + step_count_unsuccessful) <= step_count_total))),
    CONSTRAINT chk_workflow_runs_type_not_blank CHECK ((length(TRIM(BOTH FROM workflow_type)) > 0)),
    CONSTRAINT ck_workflow_runs_idempotency_enqueue_request CHECK (((idempotency_key IS NULL) OR (enqueue_request IS NOT NULL)))
)
WITH (fillfactor='50');

CREATE TABLE runledger.workflow_step_dependencies (
    workflow_run_id uuid NOT NULL,
    prerequisite_step_id uuid NOT NULL,
    dependent_step_id uuid NOT NULL,
    release_mode runledger.workflow_dependency_release_mode DEFAULT 'ON_TERMINAL'::runledger.workflow_dependency_release_mode NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_workflow_step_dependencies_not_self CHECK ((prerequisite_step_id <> dependent_step_id))
);

CREATE TABLE runledger.workflow_steps (
    id uuid DEFAULT uuidv7() NOT NULL,
    workflow_run_id uuid NOT NULL,
    step_key text NOT NULL,
    execution_kind runledger.workflow_step_execution_kind DEFAULT 'JOB'::runledger.workflow_step_execution_kind NOT NULL,
    job_type text,
    organization_id uuid,
    payload jsonb DEFAULT '{}'::jsonb NOT NULL,
    priority integer,
    max_attempts integer,
    timeout_seconds integer,
    stage text,
    status runledger.workflow_step_status DEFAULT 'BLOCKED'::runledger.workflow_step_status NOT NULL,
    job_id uuid,
    output jsonb,
    released_at timestamp with time zone,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    dependency_count_total integer DEFAULT 0 NOT NULL,
    dependency_count_pending integer DEFAULT 0 NOT NULL,
    dependency_count_unsatisfied integer DEFAULT 0 NOT NULL,
    status_reason text,
    last_error_code text,
    last_error_message text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_workflow_steps_dependency_counts_nonnegative CHECK (((dependency_count_total >= 0) AND ((dependency_count_pending >= 0) AND (dependency_count_pending <= dependency_count_total)) AND ((dependency_count_unsatisfied >= 0) AND (dependency_count_unsatisfied <= dependency_count_total)))),
    CONSTRAINT chk_workflow_steps_execution_shape CHECK (
CASE execution_kind
    WHEN 'JOB'::runledger.workflow_step_execution_kind THEN (num_nulls(job_type, priority, max_attempts, timeout_seconds, stage) = 0)
    WHEN 'EXTERNAL'::runledger.workflow_step_execution_kind THEN (num_nonnulls(job_id, job_type, priority, max_attempts, timeout_seconds, stage) = 0)
    ELSE NULL::boolean
END),
    CONSTRAINT chk_workflow_steps_max_attempts_positive CHECK (((max_attempts IS NULL) OR (max_attempts > 0))),
    CONSTRAINT chk_workflow_steps_step_key_not_blank CHECK ((length(TRIM(BOTH FROM step_key)) > 0)),
    CONSTRAINT chk_workflow_steps_timeout_positive CHECK (((timeout_seconds IS NULL) OR (timeout_seconds > 0)))
)
WITH (fillfactor='60');

ALTER TABLE ONLY runledger.job_dead_letters
    ADD CONSTRAINT job_dead_letters_pkey PRIMARY KEY (job_id);

ALTER TABLE ONLY runledger.job_definitions
    ADD CONSTRAINT job_definitions_pkey PRIMARY KEY (job_type);

ALTER TABLE ONLY runledger.job_queue
    ADD CONSTRAINT job_queue_pkey PRIMARY KEY (id);

ALTER TABLE ONLY runledger.job_runtime_configs
    ADD CONSTRAINT job_runtime_configs_pkey PRIMARY KEY (job_type);

ALTER TABLE ONLY runledger.job_schedules
    ADD CONSTRAINT job_schedules_pkey PRIMARY KEY (id);

ALTER TABLE ONLY runledger.job_workers
    ADD CONSTRAINT job_workers_pkey PRIMARY KEY (worker_id);

ALTER TABLE ONLY runledger.job_events
    ADD CONSTRAINT pk_job_events PRIMARY KEY (job_id, id);

ALTER TABLE ONLY runledger.job_logs
    ADD CONSTRAINT pk_job_logs PRIMARY KEY (job_id, id);

ALTER TABLE ONLY runledger.workflow_step_dependencies
    ADD CONSTRAINT pk_workflow_step_dependencies PRIMARY KEY (workflow_run_id, prerequisite_step_id, dependent_step_id);

ALTER TABLE ONLY runledger.runledger_migration_history
    ADD CONSTRAINT runledger_migration_history_pkey PRIMARY KEY (version);

ALTER TABLE ONLY runledger.runledger_migrations
    ADD CONSTRAINT runledger_migrations_pkey PRIMARY KEY (version);

ALTER TABLE ONLY runledger.job_attempts
    ADD CONSTRAINT uq_job_attempts_job_run_attempt PRIMARY KEY (job_id, run_number, attempt);

ALTER TABLE ONLY runledger.job_schedules
    ADD CONSTRAINT uq_job_schedules_name UNIQUE (name);

ALTER TABLE ONLY runledger.workflow_run_mutations
    ADD CONSTRAINT uq_workflow_run_mutations_run_mutation_key UNIQUE (workflow_run_id, mutation_key);

ALTER TABLE ONLY runledger.workflow_steps
    ADD CONSTRAINT uq_workflow_steps_run_step_id UNIQUE (workflow_run_id, id);

ALTER TABLE ONLY runledger.workflow_steps
    ADD CONSTRAINT uq_workflow_steps_run_step_key UNIQUE (workflow_run_id, step_key);

ALTER TABLE ONLY runledger.workflow_run_mutations
    ADD CONSTRAINT workflow_run_mutations_pkey PRIMARY KEY (id);

ALTER TABLE ONLY runledger.workflow_runs
    ADD CONSTRAINT workflow_runs_pkey PRIMARY KEY (id);

ALTER TABLE ONLY runledger.workflow_steps
    ADD CONSTRAINT workflow_steps_pkey PRIMARY KEY (id);

CREATE INDEX idx_job_attempts_created_at ON runledger.job_attempts USING brin (created_at);

CREATE INDEX idx_job_dead_letters_failed_at ON runledger.job_dead_letters USING btree (failed_at DESC);

CREATE INDEX idx_job_definitions_paused ON runledger.job_definitions USING btree (job_type) WHERE (paused_at IS NOT NULL);

CREATE INDEX idx_job_events_id ON runledger.job_events USING btree (id);

CREATE INDEX idx_job_events_occurred_at ON runledger.job_events USING brin (occurred_at);

CREATE INDEX idx_job_queue_claim ON runledger.job_queue USING btree (priority DESC, next_run_at, id) WHERE ((status = 'PENDING'::runledger.job_status) AND (attempt >= 0));

CREATE INDEX idx_job_queue_claim_type ON runledger.job_queue USING btree (job_type, priority DESC, next_run_at, id) WHERE (status = 'PENDING'::runledger.job_status);

CREATE INDEX idx_job_queue_given_up ON runledger.job_queue USING btree (status, id) INCLUDE (job_type, organization_id) WHERE (status = ANY (ARRAY['DEAD_LETTERED'::runledger.job_status, 'CANCELED'::runledger.job_status]));

CREATE INDEX idx_job_queue_leased_expiry ON runledger.job_queue USING btree (lease_expires_at) WHERE (status = 'LEASED'::runledger.job_status);

CREATE INDEX idx_job_queue_missing_enqueue_request_snapshot ON runledger.job_queue USING btree (id) WHERE ((idempotency_key IS NOT NULL) AND (enqueue_request IS NULL));

CREATE INDEX idx_job_schedules_job_type ON runledger.job_schedules USING btree (job_type) WHERE is_active;

CREATE INDEX idx_job_schedules_next_fire ON runledger.job_schedules USING btree (next_fire_at) WHERE is_active;

CREATE INDEX idx_workflow_runs_missing_enqueue_request_snapshot ON runledger.workflow_runs USING btree (id) WHERE ((idempotency_key IS NOT NULL) AND (enqueue_request IS NULL));

CREATE INDEX idx_workflow_runs_waiting ON runledger.workflow_runs USING btree (id) WHERE (step_count_waiting > 0);

CREATE INDEX idx_workflow_step_dependencies_dependent ON runledger.workflow_step_dependencies USING btree (workflow_run_id, dependent_step_id);

CREATE UNIQUE INDEX uq_job_queue_type_idempotency_global ON runledger.job_queue USING btree (job_type, idempotency_key) WHERE ((idempotency_key IS NOT NULL) AND (organization_id IS NULL));

CREATE UNIQUE INDEX uq_job_queue_type_idempotency_org ON runledger.job_queue USING btree (job_type, organization_id, idempotency_key) WHERE ((idempotency_key IS NOT NULL) AND (organization_id IS NOT NULL));

CREATE UNIQUE INDEX uq_workflow_runs_type_idempotency_global ON runledger.workflow_runs USING btree (workflow_type, idempotency_key) WHERE ((idempotency_key IS NOT NULL) AND (organization_id IS NULL));

CREATE UNIQUE INDEX uq_workflow_runs_type_idempotency_org ON runledger.workflow_runs USING btree (workflow_type, organization_id, idempotency_key) WHERE ((idempotency_key IS NOT NULL) AND (organization_id IS NOT NULL));

CREATE TRIGGER trg_job_queue_unlink_step AFTER DELETE ON runledger.job_queue FOR EACH ROW WHEN ((old.workflow_step_id IS NOT NULL)) EXECUTE FUNCTION runledger.unlink_step_of_deleted_job();

CREATE CONSTRAINT TRIGGER trg_job_queue_workflow_step_linkage_symmetry AFTER INSERT ON runledger.job_queue DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ((new.workflow_step_id IS NOT NULL)) EXECUTE FUNCTION runledger.enforce_workflow_job_linkage_symmetry();

CREATE CONSTRAINT TRIGGER trg_job_queue_workflow_step_linkage_symmetry_update AFTER UPDATE OF workflow_step_id ON runledger.job_queue DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ((old.workflow_step_id IS DISTINCT FROM new.workflow_step_id)) EXECUTE FUNCTION runledger.enforce_workflow_job_linkage_symmetry();

CREATE TRIGGER trg_workflow_runs_lock_jobs BEFORE DELETE ON runledger.workflow_runs FOR EACH ROW EXECUTE FUNCTION runledger.lock_jobs_of_deleted_run();

CREATE CONSTRAINT TRIGGER trg_workflow_steps_job_linkage_symmetry AFTER INSERT ON runledger.workflow_steps DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ((new.job_id IS NOT NULL)) EXECUTE FUNCTION runledger.enforce_workflow_job_linkage_symmetry();

CREATE CONSTRAINT TRIGGER trg_workflow_steps_job_linkage_symmetry_update AFTER UPDATE OF job_id ON runledger.workflow_steps DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ((old.job_id IS DISTINCT FROM new.job_id)) EXECUTE FUNCTION runledger.enforce_workflow_job_linkage_symmetry();

CREATE TRIGGER trg_workflow_steps_unlink_jobs AFTER DELETE ON runledger.workflow_steps REFERENCING OLD TABLE AS deleted_step FOR EACH STATEMENT EXECUTE FUNCTION runledger.unlink_jobs_of_deleted_steps();

ALTER TABLE ONLY runledger.job_queue
    ADD CONSTRAINT fk_job_queue_job_type FOREIGN KEY (job_type) REFERENCES runledger.job_definitions(job_type) ON DELETE RESTRICT;

ALTER TABLE ONLY runledger.job_runtime_configs
    ADD CONSTRAINT fk_job_runtime_configs_job_type FOREIGN KEY (job_type) REFERENCES runledger.job_definitions(job_type) ON DELETE CASCADE;

ALTER TABLE ONLY runledger.job_schedules
    ADD CONSTRAINT fk_job_schedules_job_type FOREIGN KEY (job_type) REFERENCES runledger.job_definitions(job_type) ON DELETE RESTRICT;

ALTER TABLE ONLY runledger.workflow_run_mutations
    ADD CONSTRAINT fk_workflow_run_mutations_run FOREIGN KEY (workflow_run_id) REFERENCES runledger.workflow_runs(id) ON DELETE CASCADE;

ALTER TABLE ONLY runledger.workflow_step_dependencies
    ADD CONSTRAINT fk_workflow_step_dependencies_dependent FOREIGN KEY (workflow_run_id, dependent_step_id) REFERENCES runledger.workflow_steps(workflow_run_id, id) ON DELETE CASCADE;

ALTER TABLE ONLY runledger.workflow_step_dependencies
    ADD CONSTRAINT fk_workflow_step_dependencies_prerequisite FOREIGN KEY (workflow_run_id, prerequisite_step_id) REFERENCES runledger.workflow_steps(workflow_run_id, id) ON DELETE CASCADE;

ALTER TABLE ONLY runledger.workflow_step_dependencies
    ADD CONSTRAINT fk_workflow_step_dependencies_run FOREIGN KEY (workflow_run_id) REFERENCES runledger.workflow_runs(id) ON DELETE CASCADE;

ALTER TABLE ONLY runledger.workflow_steps
    ADD CONSTRAINT fk_workflow_steps_job_type FOREIGN KEY (job_type) REFERENCES runledger.job_definitions(job_type) ON DELETE RESTRICT;

ALTER TABLE ONLY runledger.workflow_steps
    ADD CONSTRAINT fk_workflow_steps_run FOREIGN KEY (workflow_run_id) REFERENCES runledger.workflow_runs(id) ON DELETE CASCADE;
