-- Contracts. Definitions: docs/reference/chapters/contracts.md.
-- In: events, chapter_settings, ends, settings. Out: chapter_changes, undecided_chapter_changes, facts.

-- A due date out of range is no event of the contract.
CREATE TABLE contract_events AS
SELECT *, row_number() OVER so_on AS n
FROM (
    SELECT event, part, key, place, t, type, id(details ->> '$.contract.contract_id') AS contract,
        CASE WHEN coalesce(details ->> '$.contract.due_at', '') <> '' THEN rfc3339_ms(details ->> '$.contract.due_at') ELSE t END AS due,
        setting('contracts', 'grace')::BIGINT AS grace
    FROM events
    WHERE type IN ('contract.due', 'contract.renewed', 'contract.cancelled')
)
WHERE type <> 'contract.due' OR (due > t - grace AND due <= t + setting('contracts', 'ahead')::BIGINT)
WINDOW so_on AS (PARTITION BY key, contract ORDER BY place);

-- A renewal of a contract of which no due date is open, and none decided that does not count yet, waits for the next one, if that is due soon
-- enough; which it decides at once. A notice of a date that is decided (settled: the ends of their graces) says nothing.
CREATE TABLE contract_walk AS
WITH RECURSIVE walked AS (
    SELECT key, contract, n, type = 'contract.due' AS is_open, CASE WHEN type = 'contract.renewed' THEN t END AS waits, false AS renewed_early,
        CASE WHEN type = 'contract.due' THEN due + grace END AS last_known, NULL::BIGINT AS decided_until,
        []::BIGINT[] AS settled, false AS told_again
    FROM contract_events WHERE n = 1
    UNION ALL
    SELECT key, contract, n, CASE WHEN told_again THEN is_open ELSE type = 'contract.due' AND NOT early END,
        CASE WHEN told_again THEN waits
             WHEN type = 'contract.renewed' AND NOT found AND coalesce(t >= decided_until, true) THEN t
             WHEN type = 'contract.renewed' AND NOT found THEN waits END,
        early,
        CASE WHEN type = 'contract.due' AND NOT told_again THEN due + grace ELSE last_known END,
        CASE WHEN early THEN greatest(due + grace, decided_until) WHEN found THEN greatest(last_known, decided_until) ELSE decided_until END,
        CASE WHEN early THEN list_append(settled, due + grace) WHEN found THEN list_append(settled, last_known) ELSE settled END,
        told_again
    FROM (
        SELECT e.key, e.contract, e.n, e.type, e.t, e.due, e.grace, w.is_open, w.last_known, w.decided_until, w.waits, w.settled,
            e.type = 'contract.due' AND list_contains(w.settled, e.due + e.grace) AS told_again,
            e.type = 'contract.due' AND NOT list_contains(w.settled, e.due + e.grace)
                AND coalesce(e.due <= w.waits + span AND e.t < w.waits + span, false) AS early,
            e.type <> 'contract.due' AND w.is_open AND e.t < w.last_known AS found
        FROM walked w JOIN contract_events e ON e.key = w.key AND e.contract = w.contract AND e.n = w.n + 1,
            (SELECT setting('contracts', 'early')::BIGINT AS span)
    )
)
SELECT key, contract, n, renewed_early FROM walked WHERE NOT told_again;

-- What the next event of the same contract finds: a due date that is still open, unless the grace after it has passed by then.
CREATE TABLE contract_dates AS
SELECT * FROM (
    SELECT *, lead(type) OVER so_on AS next_type, lead(t) OVER so_on AS next_t, lead(place) OVER so_on AS next_place
    FROM contract_events JOIN contract_walk USING (key, contract, n)
    WINDOW so_on AS (PARTITION BY key, contract ORDER BY n)
)
WHERE type = 'contract.due';

-- A new due date before the decision takes the place of the old one, which is then never decided. Everything counts when the grace is over.
CREATE TABLE contract_changes AS
SELECT unnest(CASE WHEN renewed_early OR (next_type = 'contract.renewed' AND next_t < due + grace)
              THEN ['CONTRACTS_DUE', 'CONTRACTS_RENEWED'] ELSE ['CONTRACTS_DUE'] END) AS counter, due + grace AS t, event, due + grace AS decided_at
FROM contract_dates JOIN ends USING (part)
WHERE (renewed_early OR next_type <> 'contract.due' OR coalesce(next_t >= due + grace, true)) AND due + grace <= ends.clock;

INSERT INTO chapter_changes SELECT counter, 1, t, event, NULL FROM contract_changes, settings WHERE coalesce(decided_at < decided + 1000, true);
INSERT INTO undecided_chapter_changes SELECT counter, 1, t, event, NULL FROM contract_changes, settings WHERE decided_at >= decided + 1000;

-- A date is undecided until whatever comes next of the contract, or the end of the grace.
INSERT INTO facts
SELECT key, 'contract undecided', 1, at_event(t, place), least(at_event(next_t, next_place), at_deadline(due + grace))
FROM contract_dates WHERE NOT renewed_early;

-- It is due soon from its own moment on, if it is undecided still.
INSERT INTO facts
SELECT key, 'contract due soon', 1, soon, until
FROM (
    SELECT key, greatest(since, at_deadline(due - setting('contracts', 'due_soon')::BIGINT)) AS soon, until
    FROM (
        SELECT key, due, at_event(t, place) AS since, least(at_event(next_t, next_place), at_deadline(due + grace)) AS until
        FROM contract_dates WHERE NOT renewed_early
    )
)
WHERE soon < until;
