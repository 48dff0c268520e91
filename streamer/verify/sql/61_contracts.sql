-- Contracts. Definitions: docs/reference/chapters/contracts.md.
-- In: events, chapter_settings, ends, settings. Out: chapter_changes, undecided_chapter_changes, facts.

-- What the next event of the same contract finds: a due date that is still open, unless the grace after it has passed by then. A due date
-- out of range is no event of the contract.
CREATE TABLE contract_events AS
SELECT *, row_number() OVER so_on AS n, lead(type) OVER so_on AS next_type, lead(t) OVER so_on AS next_t, lead(place) OVER so_on AS next_place
FROM (
    SELECT event, part, key, place, t, type, id(details ->> '$.contract.contract_id') AS contract,
        CASE WHEN coalesce(details ->> '$.contract.due_at', '') <> '' THEN rfc3339_ms(details ->> '$.contract.due_at') ELSE t END AS due,
        setting('contracts', 'grace')::BIGINT AS grace
    FROM events
    WHERE type IN ('contract.due', 'contract.renewed', 'contract.cancelled')
)
WHERE type <> 'contract.due' OR (due > t - grace AND due <= t + setting('contracts', 'ahead')::BIGINT)
WINDOW so_on AS (PARTITION BY key, contract ORDER BY place);

-- A renewal of a contract of which no due date is open waits for the next one, if that is due soon enough; which it decides at once.
CREATE TABLE contract_dates AS
WITH RECURSIVE walked AS (
    SELECT key, contract, n, type = 'contract.due' AS is_open, CASE WHEN type = 'contract.renewed' THEN t END AS waits, false AS renewed_early
    FROM contract_events WHERE n = 1
    UNION ALL
    SELECT key, contract, n, type = 'contract.due' AND NOT early, CASE WHEN type = 'contract.renewed' AND NOT found THEN t END, early
    FROM (
        SELECT e.key, e.contract, e.n, e.type, e.t,
            e.type = 'contract.due' AND coalesce(e.due <= w.waits + span AND e.t < w.waits + span, false) AS early,
            w.is_open AND e.t < before.due + before.grace AS found
        FROM walked w
            JOIN contract_events e ON e.key = w.key AND e.contract = w.contract AND e.n = w.n + 1
            JOIN contract_events before ON before.key = w.key AND before.contract = w.contract AND before.n = w.n,
            (SELECT setting('contracts', 'early')::BIGINT AS span)
    )
)
SELECT contract_events.*, renewed_early FROM contract_events JOIN walked USING (key, contract, n) WHERE type = 'contract.due';

-- A new due date before the decision takes the place of the old one, which is then never decided.
CREATE TABLE contract_changes AS
SELECT unnest(['CONTRACTS_DUE', 'CONTRACTS_RENEWED']) AS counter, due + grace AS t, event, NULL::BIGINT AS decided_at
FROM contract_dates WHERE renewed_early
UNION ALL
SELECT unnest(CASE WHEN next_type = 'contract.renewed' AND next_t < due + grace
              THEN ['CONTRACTS_DUE', 'CONTRACTS_RENEWED'] ELSE ['CONTRACTS_DUE'] END),
    due + grace, event, CASE WHEN next_t < due + grace THEN NULL ELSE due + grace END
FROM contract_dates JOIN ends USING (part)
WHERE NOT renewed_early
    AND ((next_t < due + grace AND next_type <> 'contract.due') OR (coalesce(next_t >= due + grace, true) AND due + grace <= greatest(ends.clock, coalesce(next_t, 0))));

INSERT INTO chapter_changes SELECT counter, 1, t, event, NULL FROM contract_changes, settings WHERE coalesce(decided_at < decided + 1000, true);
INSERT INTO undecided_chapter_changes SELECT counter, 1, t, event, NULL FROM contract_changes, settings WHERE decided_at >= decided + 1000;

-- A date is undecided until whatever comes next of the contract, or the end of the grace.
INSERT INTO facts
SELECT key, 'contract undecided', 1, at_event(t, place), least(at_event(next_t, next_place), at_deadline(due + grace))
FROM contract_dates WHERE NOT renewed_early;
