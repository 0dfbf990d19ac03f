-- The request of an earlier append with this key. Index: uq_workflow_run_mutations_run_mutation_key.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT m.request::text AS request_json
  FROM {schema}.workflow_run_mutations AS m
 WHERE m.workflow_run_id = (SELECT (doc ->> 'run_id')::uuid FROM input)
   AND m.mutation_key = (SELECT doc ->> 'mutation_key' FROM input)
