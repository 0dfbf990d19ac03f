-- Delete the schedules of a catalog that it does not declare any more; their jobs stay.
-- Lock order: schedules by name. Index: uq_job_schedules_name for the order.
WITH input AS (SELECT $1::jsonb AS doc),
absent AS MATERIALIZED (
    SELECT s.id, s.name
      FROM {schema}.job_schedules AS s
     WHERE s.catalog_scope = (SELECT doc ->> 'catalog_scope' FROM input)
       AND s.name <> ALL (ARRAY(SELECT jsonb_array_elements_text(doc -> 'names') FROM input))
     ORDER BY s.name
       FOR UPDATE
),
deleted AS (
    DELETE FROM {schema}.job_schedules AS s WHERE s.id = ANY (ARRAY(SELECT id FROM absent))
)
SELECT name FROM absent ORDER BY name
