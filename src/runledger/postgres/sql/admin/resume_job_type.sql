-- Resume a job type, and tell its workers to look at everything that waits: of its jobs they know nothing.
-- notifies: tell them in this transaction; else the notice comes back, for whoever commits.
-- No row back: the type is unknown. Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc),
resumed AS (
    UPDATE {schema}.job_definitions AS d
       SET paused_at = NULL,
           updated_at = coalesce((SELECT (doc ->> 'now')::timestamptz FROM input), now())
     WHERE d.job_type = (SELECT doc ->> 'job_type' FROM input)
    RETURNING d.job_type, d.version, d.max_attempts, d.default_timeout_seconds, d.default_priority, d.is_enabled,
              d.paused_at, d.catalog_scope
),
wake_up AS MATERIALIZED (
    SELECT job_type, jsonb_build_object('job_types', jsonb_build_array(job_type), 'delay_ms', 0)::text AS notice
      FROM resumed
)
SELECT r.job_type, r.version, r.max_attempts, r.default_timeout_seconds, r.default_priority, r.is_enabled, r.paused_at,
       r.catalog_scope, w.notice,
       CASE WHEN (SELECT (doc ->> 'notifies')::boolean FROM input)
            THEN pg_notify({channel}, w.notice) IS NOT NULL END AS is_notified
  FROM resumed AS r JOIN wake_up AS w USING (job_type)
