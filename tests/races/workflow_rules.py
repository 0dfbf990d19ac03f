"""What must hold of all runs at any time, whoever did what to them: each rule is a query for what breaks it."""

from __future__ import annotations

from tests.postgres.workflow_queue import WorkflowQueue

_EDGES = """
edges AS (
    SELECT d.dependent_step_id AS id, count(*)::integer AS total,
           count(*) FILTER (WHERE p.finished_at IS NULL)::integer AS pending,
           count(*) FILTER (WHERE p.finished_at IS NOT NULL AND d.release_mode = 'ON_SUCCESS'
                                  AND p.status <> 'SUCCEEDED')::integer AS unsatisfied
      FROM workflow_step_dependencies AS d JOIN workflow_steps AS p ON p.id = d.prerequisite_step_id
     GROUP BY d.dependent_step_id
)
"""

RULES = {
    "counters of steps are what the edges say": f"""
        WITH {_EDGES}
        SELECT s.step_key, s.status::text, s.dependency_count_total, s.dependency_count_pending,
               s.dependency_count_unsatisfied, e
          FROM workflow_steps AS s LEFT JOIN edges AS e ON e.id = s.id
         WHERE (s.dependency_count_total, s.dependency_count_pending, s.dependency_count_unsatisfied)
               <> (coalesce(e.total, 0), coalesce(e.pending, 0), coalesce(e.unsatisfied, 0))""",
    "a step waits as long as a prerequisite is open, and no longer": """
        SELECT step_key, status::text, dependency_count_pending
          FROM workflow_steps
         WHERE (status = 'BLOCKED') <> (dependency_count_pending > 0)""",
    "a step is released when all its edges are satisfied, and only then": """
        SELECT step_key, status::text, dependency_count_unsatisfied
          FROM workflow_steps
         WHERE (released_at IS NOT NULL AND dependency_count_unsatisfied > 0)
            OR (released_at IS NULL AND status NOT IN ('BLOCKED', 'CANCELED'))""",
    "a step is canceled without a release if its edges are not satisfied, or with its run": """
        SELECT s.step_key
          FROM workflow_steps AS s JOIN workflow_runs AS r ON r.id = s.workflow_run_id
         WHERE s.status = 'CANCELED' AND s.released_at IS NULL AND s.dependency_count_unsatisfied = 0
           AND r.status <> 'CANCELED'""",
    "a released step that a worker carries out has one job, and the job says where the step is": """
        SELECT s.step_key, s.status::text, s.job_id, array_agg(q.id), array_agg(q.status::text)
          FROM workflow_steps AS s LEFT JOIN job_queue AS q ON q.workflow_step_id = s.id
         WHERE s.execution_kind = 'JOB' AND s.released_at IS NOT NULL
         GROUP BY s.id
        HAVING count(q.id) <> 1 OR bool_or(q.id IS DISTINCT FROM s.job_id)
            OR s.status::text IS DISTINCT FROM max(CASE q.status
                   WHEN 'PENDING' THEN 'ENQUEUED' WHEN 'LEASED' THEN 'RUNNING' WHEN 'DEAD_LETTERED' THEN 'FAILED'
                   ELSE q.status::text END)""",
    "no other step has a job": """
        SELECT s.step_key, q.id
          FROM workflow_steps AS s JOIN job_queue AS q ON q.workflow_step_id = s.id OR q.id = s.job_id
         WHERE s.execution_kind = 'EXTERNAL' OR s.released_at IS NULL""",
    "a run counts its steps": """
        SELECT r.id, r.step_count_total, r.step_count_active, r.step_count_waiting, r.step_count_unsuccessful
          FROM workflow_runs AS r LEFT JOIN workflow_steps AS s ON s.workflow_run_id = r.id
         GROUP BY r.id
        HAVING (r.step_count_total, r.step_count_active, r.step_count_waiting, r.step_count_unsuccessful)
               <> (count(*), count(*) FILTER (WHERE s.status IN ('BLOCKED', 'ENQUEUED', 'RUNNING')),
                   count(*) FILTER (WHERE s.status = 'WAITING_FOR_EXTERNAL'),
                   count(*) FILTER (WHERE s.status IN ('FAILED', 'CANCELED')))""",
    "the status of a run follows from its counts": """
        SELECT id, status::text
          FROM workflow_runs
         WHERE status <> 'CANCELED'
           AND status::text <> CASE WHEN step_count_active > 0 THEN 'RUNNING'
                                    WHEN step_count_waiting > 0 THEN 'WAITING_FOR_EXTERNAL'
                                    WHEN step_count_unsuccessful > 0 THEN 'COMPLETED_WITH_ERRORS'
                                    ELSE 'SUCCEEDED' END""",
    "a run has ended if all its steps have": """
        SELECT id, status::text, finished_at
          FROM workflow_runs
         WHERE (step_count_active + step_count_waiting = 0) <> (status NOT IN ('RUNNING', 'WAITING_FOR_EXTERNAL'))
            OR (step_count_active + step_count_waiting = 0) <> (finished_at IS NOT NULL)""",
    "an open run has a step that somebody can move": """
        SELECT r.id
          FROM workflow_runs AS r
         WHERE r.finished_at IS NULL
           AND NOT EXISTS (SELECT FROM workflow_steps AS s
                            WHERE s.workflow_run_id = r.id
                              AND s.status IN ('ENQUEUED', 'RUNNING', 'WAITING_FOR_EXTERNAL'))""",
    "a job ends once, and its attempts with their lease": """
        SELECT q.id, q.status::text, array_agg(e.event_type::text)
          FROM job_queue AS q LEFT JOIN job_events AS e ON e.job_id = q.id
         GROUP BY q.id
        HAVING count(*) FILTER (WHERE e.event_type IN ('SUCCEEDED', 'DEAD_LETTERED', 'CANCELED'))
               <> (q.status IN ('SUCCEEDED', 'DEAD_LETTERED', 'CANCELED'))::integer
            OR count(*) FILTER (WHERE e.event_type = 'ENQUEUED') <> 1
            OR (SELECT count(*) FROM job_attempts AS a WHERE a.job_id = q.id AND a.finished_at IS NULL)
               <> (q.status = 'LEASED')::integer""",
}


def check_runs(queue: WorkflowQueue) -> None:
    """Assert that every rule holds of everything that the queue has."""
    for rule, query in RULES.items():
        assert queue.sql(query) == [], rule
