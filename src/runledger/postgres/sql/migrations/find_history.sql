-- Which of the two tables that remember migrations are there, and is the table of jobs?
WITH input AS (SELECT $1::jsonb AS doc)
SELECT to_regclass('{schema}.runledger_migrations') IS NOT NULL AS has_migrations,
       to_regclass('{schema}.runledger_migration_history') IS NOT NULL AS has_history,
       to_regclass('{schema}.job_queue') IS NOT NULL AS has_jobs
  FROM input
