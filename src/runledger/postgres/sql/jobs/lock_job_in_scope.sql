-- Wait for the lock of one job row that the caller may see, and tell what the job is once it is held. Cancel and
-- requeue judge by that and then run their statement in the same transaction, under the same lock.
-- A statement of its own: one that waits sees the newest version of the row it waited for, but of other rows only what
-- was committed when it began, so it would miss the attempt that the claim it waited for has opened.
-- `scope` as get_job; a row outside is not locked either. Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc),
locked AS MATERIALIZED (
    SELECT q.id, q.status, q.run_number, q.workflow_step_id, q.canceled_lease_expires_at
      FROM {schema}.job_queue AS q
     WHERE q.id = (SELECT (doc ->> 'job_id')::uuid FROM input)
       AND CASE (SELECT doc ->> 'scope' FROM input)
                WHEN 'any' THEN true
                WHEN 'global' THEN q.organization_id IS NULL
                ELSE q.organization_id = (SELECT (doc ->> 'organization_id')::uuid FROM input) END
       FOR NO KEY UPDATE
)
SELECT l.status::text, l.run_number, l.workflow_step_id IS NOT NULL AS is_workflow_managed,
       l.canceled_lease_expires_at, coalesce((SELECT (doc ->> 'now')::timestamptz FROM input), clock_timestamp()) AS at
  FROM locked AS l
