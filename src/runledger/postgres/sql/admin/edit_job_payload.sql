-- Set and remove members of a job's payload, if it is right to: edit_verdict says so, or why not. No row back: there is no such
-- job in the scope.
-- Guard: locked, then judged. The job waits (PENDING), belongs to no workflow, has no idempotency key, whose request could
-- not be repeated any more, and its payload is an object and stays one: || with anything but an object makes an array.
-- What is no text in `removed` names no member. Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc),
locked AS MATERIALIZED (
    SELECT q.id, q.status, q.workflow_step_id, q.idempotency_key, jsonb_typeof(q.payload) AS payload_type
      FROM {schema}.job_queue AS q
     WHERE q.id = (SELECT (doc ->> 'job_id')::uuid FROM input)
       AND CASE (SELECT doc ->> 'scope' FROM input)
                WHEN 'any' THEN true
                WHEN 'global' THEN q.organization_id IS NULL
                ELSE q.organization_id = (SELECT (doc ->> 'organization_id')::uuid FROM input) END
       FOR NO KEY UPDATE
),
judged AS MATERIALIZED (
    SELECT id,
           CASE WHEN workflow_step_id IS NOT NULL THEN 'WORKFLOW_MANAGED'
                WHEN idempotency_key IS NOT NULL THEN 'IDEMPOTENT'
                WHEN status <> 'PENDING' THEN 'NOT_PENDING'
                WHEN payload_type <> 'object' OR (SELECT jsonb_typeof(doc -> 'members') FROM input) <> 'object'
                    THEN 'NOT_AN_OBJECT'
                ELSE 'UPDATED' END AS edit_verdict
      FROM locked
),
edited AS (
    UPDATE {schema}.job_queue AS q
       SET payload = (q.payload || (SELECT doc -> 'members' FROM input))
                     - ARRAY(SELECT r.name
                               FROM input, jsonb_array_elements_text(input.doc -> 'removed') AS r (name)
                              WHERE to_jsonb(r.name) = ANY (
                                    ARRAY(SELECT jsonb_array_elements(doc -> 'removed') FROM input))),
           updated_at = coalesce((SELECT (doc ->> 'now')::timestamptz FROM input), now())
     WHERE q.id = ANY (ARRAY(SELECT id FROM judged WHERE edit_verdict = 'UPDATED'))
)
SELECT edit_verdict FROM judged
