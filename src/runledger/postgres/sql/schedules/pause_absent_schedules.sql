-- Pause the schedules of a catalog that it does not declare any more, and note why, so that the catalog starts them
-- when it declares them again. Those that a person has paused stay as they are.
-- Guard: still active once locked. Lock order: schedules by name. Index: uq_job_schedules_name for the order.
WITH input AS (SELECT $1::jsonb AS doc),
absent AS MATERIALIZED (
    SELECT s.id, s.name
      FROM {schema}.job_schedules AS s
     WHERE s.catalog_scope = (SELECT doc ->> 'catalog_scope' FROM input)
       AND s.name <> ALL (ARRAY(SELECT jsonb_array_elements_text(doc -> 'names') FROM input))
       AND s.is_active
     ORDER BY s.name
       FOR NO KEY UPDATE
),
paused AS (
    UPDATE {schema}.job_schedules AS s
       SET is_active = false,
           absent_since = now(),
           updated_at = now()
     WHERE s.id = ANY (ARRAY(SELECT id FROM absent))
)
SELECT name FROM absent ORDER BY name
