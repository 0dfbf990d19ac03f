-- The ids of due jobs in the order of a claim, to name the job over which a claim failed. Locks nothing: another worker
-- may fail over the same job at this moment, and would hide it.
-- Index: idx_job_queue_claim and idx_job_definitions_paused; the first wants to hear that attempt >= 0.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT c.id AS job_id
  FROM {schema}.job_queue AS c
 WHERE c.status = 'PENDING'
   AND c.attempt >= 0
   AND c.next_run_at <= coalesce((SELECT (doc ->> 'now')::timestamptz FROM input), statement_timestamp())
   AND ((SELECT doc -> 'job_types' FROM input) IS NULL
        OR c.job_type = ANY (ARRAY(SELECT jsonb_array_elements_text(doc -> 'job_types') FROM input)))
   AND coalesce(c.job_type <> ALL (ARRAY(
           SELECT d.job_type FROM {schema}.job_definitions AS d WHERE d.paused_at IS NOT NULL)), true)
   AND c.id <> ALL (ARRAY(SELECT jsonb_array_elements_text(doc -> 'excluded_job_ids')::uuid FROM input))
 ORDER BY c.priority DESC, c.next_run_at, c.id
 LIMIT (SELECT (doc ->> 'limit')::bigint FROM input)
