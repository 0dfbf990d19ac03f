-- Tell which of some job types are disabled; for a refusal that says why they take no jobs. `absent_from` is the catalog
-- that does not declare the type any more, NULL where somebody has disabled it. Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT d.job_type, CASE WHEN d.absent_since IS NOT NULL THEN d.catalog_scope END AS absent_from
  FROM {schema}.job_definitions AS d
 WHERE d.job_type = ANY (ARRAY(SELECT jsonb_array_elements_text(doc -> 'job_types') FROM input))
   AND NOT d.is_enabled
