-- Fire schedules: their jobs, each with its ENQUEUED event, and their next due time, together or not at all. A schedule
-- may have no job here: then its due time is left out, and only the next one is set.
-- `schedules` is an object keyed by schedule id; `ends` says that a schedule is never due again and stops.
-- Guard: the caller holds the locks (claim_due_schedules). A schedule whose definition is not enabled comes back with
-- is_fired = false and is left alone. The payload is the template with `_schedule` in it; a template that is no object
-- becomes the member `payload` of one. Lock order: schedules before job rows, and these are new.
-- Index: primary keys.
WITH input AS (SELECT $1::jsonb AS doc),
parameter AS MATERIALIZED (
    SELECT doc -> 'schedules' AS schedules, (doc ->> 'fired_at')::timestamptz AS fired_at FROM input
),
asked AS MATERIALIZED (
    SELECT s.id, s.name, s.job_type, s.organization_id, s.payload_template,
           d.default_priority, d.max_attempts, d.default_timeout_seconds, d.job_type IS NOT NULL AS is_enabled
      FROM {schema}.job_schedules AS s
      LEFT JOIN LATERAL (
           SELECT d.job_type, d.default_priority, d.max_attempts, d.default_timeout_seconds
             FROM {schema}.job_definitions AS d
            WHERE d.job_type = s.job_type AND d.is_enabled) AS d ON true
     WHERE s.id = ANY (ARRAY(SELECT jsonb_object_keys(schedules)::uuid FROM parameter))
),
item AS MATERIALIZED (
    SELECT i.id, i.schedule_id, i.scheduled_for
      FROM input, jsonb_to_recordset(input.doc -> 'jobs') AS i (id uuid, schedule_id uuid, scheduled_for text)
),
enqueued AS (
    INSERT INTO {schema}.job_queue
           (id, job_type, organization_id, payload, priority, max_attempts, timeout_seconds, stage, next_run_at,
            created_at, updated_at)
    SELECT i.id, a.job_type, a.organization_id,
           CASE WHEN jsonb_typeof(a.payload_template) = 'object' THEN a.payload_template
                ELSE jsonb_build_object('payload', a.payload_template) END
               || jsonb_build_object('_schedule', jsonb_build_object(
                   'schedule_id', a.id, 'schedule_name', a.name, 'scheduled_for', i.scheduled_for)),
           a.default_priority, a.max_attempts, a.default_timeout_seconds, 'scheduled', p.fired_at, p.fired_at, p.fired_at
      FROM item AS i JOIN asked AS a ON a.id = i.schedule_id CROSS JOIN parameter AS p
     WHERE a.is_enabled
     ORDER BY i.id
    RETURNING id, job_type, stage, created_at
),
enqueued_event AS (
    INSERT INTO {schema}.job_events (job_id, event_type, stage, payload, occurred_at)
    SELECT id, 'ENQUEUED', stage, jsonb_build_object('job_type', job_type), created_at FROM enqueued
),
fired AS (
    UPDATE {schema}.job_schedules AS s
       SET next_fire_at = coalesce(
               ((SELECT schedules FROM parameter) -> s.id::text ->> 'next_fire_at')::timestamptz, s.next_fire_at),
           is_active = ((SELECT schedules FROM parameter) -> s.id::text ->> 'ends') IS NULL,
           last_job_id = coalesce(
               ((SELECT schedules FROM parameter) -> s.id::text ->> 'last_job_id')::uuid, s.last_job_id),
           last_fired_at = CASE
               WHEN (SELECT schedules FROM parameter) -> s.id::text ->> 'last_job_id' IS NULL THEN s.last_fired_at
               ELSE (SELECT fired_at FROM parameter) END,
           next_fire_set_at = NULL,
           deferred_due_at = NULL,
           updated_at = (SELECT fired_at FROM parameter)
     WHERE s.id = ANY (ARRAY(SELECT id FROM asked WHERE is_enabled))
),
-- What workers are told, see notices.py. Too many types for one payload become any.
made AS MATERIALIZED (SELECT jsonb_agg(DISTINCT job_type) AS job_types FROM enqueued)
SELECT a.id AS schedule_id, a.is_enabled AS is_fired,
       CASE WHEN m.job_types IS NOT NULL
            THEN jsonb_build_object(
                'job_types', CASE WHEN octet_length(m.job_types::text) <= 7000 THEN m.job_types END,
                'due_at', p.fired_at, 'delay_ms', 0)::text END AS notice
  FROM asked AS a CROSS JOIN made AS m CROSS JOIN parameter AS p
