-- Which of the two tables that remember migrations are there, is the table of jobs, and how old is the server?
WITH input AS (SELECT $1::jsonb AS doc)
SELECT to_regclass('{schema}.runledger_migrations') IS NOT NULL AS has_migrations,
       to_regclass('{schema}.runledger_migration_history') IS NOT NULL AS has_history,
       to_regclass('{schema}.job_queue') IS NOT NULL AS has_jobs,
       current_setting('server_version_num')::integer AS server_version_num
  FROM input
