-- Handoffs. Definitions: docs/reference/chapters/handoffs.md.
-- In: events, chapter_settings, ends, metric_parts. Out: chapter_changes, undecided_chapter_changes, facts.

-- The latest handoff of a case is what an answer is to: the next event of the case decides what becomes of it.
CREATE TABLE handoffs AS
SELECT *, CASE WHEN next_t < deadline + setting('handoffs', 'forget_after')::BIGINT THEN next_type END AS answer
FROM (
    SELECT event, part, key, place, t, to_team, handoff_kind, context_passed, details, type,
        lead(type) OVER so_on AS next_type, lead(t) OVER so_on AS next_t, lead(place) OVER so_on AS next_place,
        -- What ends its failure.
        min(t) FILTER (type <> 'handoff.rejected') OVER later AS mended,
        min(place) FILTER (type <> 'handoff.rejected') OVER later AS mended_place,
        t + setting('handoffs', CASE WHEN partner <> '' THEN 'partner_accept_within' ELSE 'accept_within' END)::BIGINT AS deadline
    FROM (
        SELECT *, coalesce(nullif(case_id, ''), nullif(issue_id, ''), contact_id) AS of_case
        FROM events
        WHERE type IN ('handoff.initiated', 'handoff.accepted', 'handoff.rejected')
    )
    WINDOW so_on AS (PARTITION BY key, of_case ORDER BY place),
        later AS (PARTITION BY key, of_case ORDER BY place ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)
)
WHERE type = 'handoff.initiated';

CREATE TABLE handoff_changes AS
SELECT 'HANDOFFS_INITIATED' AS counter, t, event, to_team, NULL::BIGINT AS due FROM handoffs
UNION ALL
SELECT 'HANDOFFS_COLD', t, event, to_team, NULL FROM handoffs
WHERE handoff_kind = 'cold' OR (handoff_kind <> 'warm' AND context_passed IS NOT DISTINCT FROM false)
UNION ALL
SELECT unnest(CASE WHEN complete THEN ['HANDOFFS_REQUIRING', 'HANDOFFS_COMPLETE'] ELSE ['HANDOFFS_REQUIRING'] END), t, event, to_team, NULL
FROM (
    SELECT *, CASE WHEN json_type(details, '$.handoff.context_passed') = 'ARRAY'
            THEN list_has_all((details -> '$.handoff.context_passed')::VARCHAR[], (details -> '$.handoff.required_context')::VARCHAR[])
            ELSE coalesce((details ->> '$.handoff.context_passed')::BOOLEAN, false) END AS complete
    FROM handoffs
    WHERE json_type(details, '$.handoff.required_context') = 'ARRAY'
)
UNION ALL
SELECT counter, next_t, event, to_team, NULL
FROM handoffs JOIN metric_parts ON metric = 'handoff_latency_median'
    AND next_t - t <= coalesce(upper_edge * 1000, next_t - t) AND (next_t - t > lower_edge * 1000 OR bucket = 0)
WHERE answer = 'handoff.accepted'
UNION ALL
SELECT 'HANDOFFS_DECIDED', next_t, event, to_team, NULL FROM handoffs WHERE answer = 'handoff.accepted' AND next_t < deadline
UNION ALL
-- Failed by what came next, or by the deadline, which has passed by the next event of the case or by the clock at the end of the log.
SELECT unnest(['HANDOFFS_DECIDED', 'HANDOFFS_FAILED']), least(next_t, deadline), event, to_team, CASE WHEN next_t IS NULL THEN deadline END
FROM handoffs JOIN ends USING (part)
WHERE answer IN ('handoff.rejected', 'handoff.initiated') OR deadline <= next_t OR (next_t IS NULL AND deadline <= ends.clock);

INSERT INTO chapter_changes
SELECT counter, 1, t, event, MAP {'team': nullif(to_team, '')}
FROM handoff_changes, settings WHERE coalesce(due < decided + 1000, true);
INSERT INTO undecided_chapter_changes
SELECT counter, 1, t, event, MAP {'team': nullif(to_team, '')}
FROM handoff_changes, settings WHERE due >= decided + 1000;

-- What waits, in time; and what has failed, by its deadline or a rejection.
INSERT INTO facts
SELECT key, 'handoff waiting', 1, at_event(t, place), least(at_event(next_t, next_place), at_deadline(deadline)) FROM handoffs
UNION ALL
SELECT key, 'handoff failed', 1,
    least(at_deadline(deadline), CASE WHEN next_type = 'handoff.rejected' THEN at_event(next_t, next_place) END),
    least(at_event(mended, mended_place), at_deadline(deadline + setting('handoffs', 'forget_after')::BIGINT))
FROM handoffs;
