-- Count the attempts that began in the last seconds, to find out how far back a reading of bounded cost can look.
-- Both bounds are given, since of an open interval the planner would believe that it is a third of the table.
-- Index: idx_job_attempts_created_at (block ranges).
WITH input AS (SELECT $1::jsonb AS doc),
parameter AS MATERIALIZED (
    SELECT coalesce((doc ->> 'now')::timestamptz, statement_timestamp()) AS at,
           (doc ->> 'seconds')::double precision * interval '1 second' AS span
      FROM input
)
SELECT p.at,
       (SELECT count(*)
          FROM {schema}.job_attempts AS a
         WHERE a.created_at > (SELECT at - span FROM parameter)
           AND a.created_at <= (SELECT at FROM parameter)) AS attempt_count
  FROM parameter AS p
