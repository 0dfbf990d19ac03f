-- Is the schema there? Asked first, because CREATE SCHEMA IF NOT EXISTS needs its privilege even when it does nothing.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT to_regnamespace('{schema}') IS NOT NULL AS schema_exists FROM input
