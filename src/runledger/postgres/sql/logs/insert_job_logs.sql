-- Add lines to the logs of jobs. Those of one job get ascending ids in the order in which they are given.
-- Guard: none. What a handler says when its lease is gone is worth keeping: it may explain why. A line of a job that is
-- not there is seen by nobody, and swept with others of its kind.
-- age_us: how long before this statement the line was written, so that all instants are of the database's clock.
-- Index: none is read; pk_job_logs is written.
WITH input AS (SELECT $1::jsonb AS doc),
line AS MATERIALIZED (
    SELECT l.job_id, l.run_number, l.attempt, l.level, l.message, l.payload, l.ordinality,
           coalesce((input.doc ->> 'now')::timestamptz, clock_timestamp())
               - l.age_us::double precision * interval '1 microsecond' AS occurred_at
      FROM input, ROWS FROM (jsonb_to_recordset(input.doc -> 'lines') AS (
           job_id uuid, run_number integer, attempt integer, level text, message text, payload jsonb,
           age_us bigint)) WITH ORDINALITY AS l
           (job_id, run_number, attempt, level, message, payload, age_us, ordinality)
)
INSERT INTO {schema}.job_logs (job_id, run_number, attempt, level, message, payload, occurred_at)
SELECT job_id, run_number, attempt, level, message, payload, occurred_at
  FROM line
 ORDER BY ordinality
