"""What the ledger says about every execution of every job, after an outage.

A handler writes a plain row each time it is executed. More rows than jobs are allowed only where the ledger has the
reason: the attempt lost its lease, or its handler said itself that it had failed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import LiteralString

from tests.observer import Observer

_LEASE_LOST = "LEASE_EXPIRED job.lease_expired"

# One letter per event: a job is enqueued, leased any number of times without success, and leased once with it. A lease
# ends without success by a failure and its retry, or by the return of a claim whose handler was never called. There is
# one success, and nothing after it, so nobody finished it a second time.
_STORY = r"^E(L(FR|Q))*LS$"

_JOBS = """
SELECT count(*), count(*) FILTER (WHERE status = 'SUCCEEDED'), (SELECT count(*) FROM effect),
       (SELECT count(*) FROM runledger.job_events WHERE event_type = 'REQUEUED')
  FROM runledger.job_queue
"""

_BROKEN_STORIES = """
SELECT job_id, story
  FROM (SELECT job_id, string_agg(CASE event_type WHEN 'ENQUEUED' THEN 'E' WHEN 'LEASED' THEN 'L' WHEN 'FAILED' THEN 'F'
                                                  WHEN 'RETRY_SCHEDULED' THEN 'R' WHEN 'REQUEUED' THEN 'Q'
                                                  WHEN 'SUCCEEDED' THEN 'S' ELSE '?' END, '' ORDER BY id) AS story
          FROM runledger.job_events GROUP BY job_id) AS told
 WHERE story !~ %s LIMIT 10
"""

# The last attempt is the one that succeeded, and the ones before it are all there and ended otherwise.
_BROKEN_ATTEMPTS = """
SELECT q.id, q.attempt, array_agg(a.attempt ORDER BY a.attempt), array_agg(a.outcome::text ORDER BY a.attempt)
  FROM runledger.job_queue AS q LEFT JOIN runledger.job_attempts AS a ON a.job_id = q.id
 GROUP BY q.id
HAVING array_agg(a.attempt ORDER BY a.attempt) <> ARRAY(SELECT generate_series(1, q.attempt))
    OR NOT bool_and(a.finished_at IS NOT NULL AND (a.outcome IS NULL) = (a.attempt = q.attempt))
 LIMIT 10
"""

# Somebody ran a handler without holding the attempt, or twice in one.
_EFFECTS_WITHOUT_ATTEMPT = """
SELECT job_id, attempt, worker_id, count(*)
  FROM effect LEFT JOIN runledger.job_attempts AS a USING (job_id, run_number, attempt, worker_id)
 GROUP BY job_id, attempt, worker_id HAVING count(a.job_id) <> 1
 LIMIT 10
"""

_SUCCESSES_WITHOUT_EFFECT = """
SELECT q.id, q.job_type
  FROM runledger.job_queue AS q
 WHERE NOT EXISTS (SELECT FROM effect AS e WHERE (e.job_id, e.attempt) = (q.id, q.attempt))
 LIMIT 10
"""

# What is written in the transaction that finishes the job is there once, whatever happened.
_REPEATED_EXACT = """
SELECT q.id, q.job_type, count(*)
  FROM effect AS e JOIN runledger.job_queue AS q ON q.id = e.job_id
 WHERE q.job_type IN ('exact', 'threaded')
 GROUP BY q.id HAVING count(*) <> 1
 LIMIT 10
"""

# A lease that was taken away before it can have ended.
_TAKEN_TOO_EARLY = """
SELECT job_id, attempt, leased_at, finished_at
  FROM runledger.job_attempts
 WHERE outcome = 'LEASE_EXPIRED' AND finished_at < leased_at + %s * interval '1 second'
 LIMIT 10
"""

_ENDINGS = """
SELECT concat_ws(' ', a.outcome::text, a.error_code), count(*), count(e.job_id)
  FROM runledger.job_attempts AS a LEFT JOIN effect AS e USING (job_id, run_number, attempt, worker_id)
 WHERE a.outcome IS NOT NULL
 GROUP BY 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What happened besides success.

    Attributes:
        job_count: Jobs, all of which succeeded.
        effect_count: Executions that reached their effect.
        returned_count: Claims that were given back without a call of their handler.
        failed_attempts: How often an attempt ended without success, by failure kind and code.
        reruns: The same for attempts whose effect was there already, so that it was repeated.
    """

    job_count: int
    effect_count: int
    returned_count: int
    failed_attempts: Counter[str]
    reruns: Counter[str]

    @property
    def lost_lease_count(self) -> int:
        """Attempts whose lease ended."""
        return self.failed_attempts[_LEASE_LOST]


async def explain_reruns(observer: Observer, *, lease_ttl: float, is_clock_steady: bool = True) -> Explanation:
    """Assert that every job succeeded once and that each further execution has its reason in the ledger.

    Args:
        observer: Sees the database.
        lease_ttl: Shortest time to live of the leases, in seconds.
        is_clock_steady: Whether the server's clock was left alone, so that the ages of leases can be compared.
    """
    job_count, succeeded_count, effect_count, returned_count = await observer.row(_JOBS)
    assert succeeded_count == job_count
    await _assert_none(observer, _BROKEN_STORIES, _STORY)
    for query in (_BROKEN_ATTEMPTS, _EFFECTS_WITHOUT_ATTEMPT, _SUCCESSES_WITHOUT_EFFECT, _REPEATED_EXACT):
        await _assert_none(observer, query)
    if is_clock_steady:
        await _assert_none(observer, _TAKEN_TOO_EARLY, lease_ttl)
    endings = await observer.rows(_ENDINGS)
    reruns = Counter({ending: effects for ending, _, effects in endings if effects})
    assert effect_count == job_count + reruns.total()
    # A handler that reached its effect was not told to run again by anything but the end of its lease, or by itself.
    assert set(reruns) <= {_LEASE_LOST, "RETRYABLE app.effect_unconfirmed"}, reruns
    return Explanation(
        job_count=job_count,
        effect_count=effect_count,
        returned_count=returned_count,
        failed_attempts=Counter({ending: attempts for ending, attempts, _ in endings}),
        reruns=reruns,
    )


async def _assert_none(observer: Observer, query: LiteralString, *parameters: object) -> None:
    found = await observer.rows(query, *parameters)
    assert found == [], query
