-- Read the events of all jobs in the order of their ids, after after_id, and never pass one that is committed late.
-- Ids are given out in one order and committed in another. Up to final_id every id is decided: its transaction is over. Up
-- to mark_id it will be, once every transaction up to mark_xid is: each id up to the newest that can be seen now was taken
-- by a transaction that had its own id (xid) before, since our statements write to other rows before they insert an
-- event; so a transaction id that is given out now, to this statement, is greater than all of those
-- (docs/decisions/0093). pg_snapshot_xmin is the oldest that still runs.
-- A mark at or beyond pg_snapshot_xmax that is not reached is set anew and decides nothing: the transaction that set it
-- would be over, and its id below, had a crash not taken it back. Waiting for such an id would last until as many others
-- have been given out.
-- given_id is the last id that was given out, however its transaction ended; NULL to who may not read the sequence. A
-- cursor beyond it is of another time, and the caller refuses it.
-- was_written: the transaction has an id from before, which says nothing. The caller refuses it.
-- There is always a row: without an event it tells the place. Its job may be gone.
-- Index: idx_job_events_id; primary key of job_queue.
WITH input AS (SELECT $1::jsonb AS doc),
parameter AS MATERIALIZED (
    SELECT (doc ->> 'after_id')::bigint AS after_id,
           (doc ->> 'final_id')::bigint AS final_id,
           (doc ->> 'mark_id')::bigint AS mark_id,
           (doc ->> 'mark_xid')::xid8 AS mark_xid,
           pg_snapshot_xmin(pg_current_snapshot()) AS oldest_xid,
           pg_snapshot_xmax(pg_current_snapshot()) AS unseen_xid,
           pg_current_xact_id_if_assigned() IS NOT NULL AS was_written
      FROM input
),
newest AS MATERIALIZED (
    SELECT coalesce((SELECT e.id FROM {schema}.job_events AS e ORDER BY e.id DESC LIMIT 1), 0) AS id
),
given AS MATERIALIZED (
    SELECT CASE WHEN has_sequence_privilege(s.id, 'USAGE, SELECT') THEN coalesce(pg_sequence_last_value(s.id), 0) END AS id
      FROM (SELECT pg_get_serial_sequence('{schema}.job_events', 'id')::regclass::oid AS id) AS s
),
reached AS MATERIALIZED (
    SELECT p.*,
           CASE WHEN p.oldest_xid >= p.mark_xid THEN p.mark_id ELSE p.final_id END AS decided_id,
           p.mark_xid IS NULL OR p.oldest_xid >= p.mark_xid OR p.mark_xid >= p.unseen_xid AS is_open
      FROM parameter AS p
),
place AS MATERIALIZED (
    SELECT r.decided_id, r.after_id, r.was_written,
           CASE WHEN NOT r.is_open THEN r.mark_id WHEN n.id > r.decided_id THEN n.id END AS next_mark_id,
           CASE WHEN NOT r.is_open THEN r.mark_xid
                WHEN n.id > r.decided_id AND NOT r.was_written THEN pg_current_xact_id() END AS next_mark_xid
      FROM reached AS r, newest AS n
)
SELECT p.decided_id, p.next_mark_id, p.next_mark_xid::text, p.was_written, g.id AS given_id,
       e.id, e.job_id, e.run_number, e.attempt, e.event_type::text, e.stage, e.progress_done, e.progress_total,
       e.payload::text AS payload_json, e.occurred_at, q.job_type, q.organization_id
  FROM place AS p CROSS JOIN given AS g
  LEFT JOIN LATERAL (
       SELECT *
         FROM {schema}.job_events AS l
        WHERE l.id > p.after_id AND l.id <= p.decided_id
        ORDER BY l.id
        LIMIT (SELECT (doc ->> 'limit')::bigint FROM input)) AS e ON true
  LEFT JOIN LATERAL (
       SELECT j.job_type, j.organization_id FROM {schema}.job_queue AS j WHERE j.id = e.job_id LIMIT 1) AS q ON true
 ORDER BY e.id
