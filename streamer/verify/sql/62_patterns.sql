-- Patterns: sequences and absences that rules on customers name. Definitions: docs/reference/journeys.md (Entity alerts).
-- In:  events, patterns, pattern_types. Out: pattern_events, facts (`pattern ` and its id: the times it was seen).

-- What a pattern looks at, numbered (n) for each value of the shared id. nths: which of its events it can be; ends: of `without`.
CREATE TABLE pattern_events AS
SELECT *, row_number() OVER (PARTITION BY pattern, key, shared ORDER BY place) AS n
FROM (
    SELECT pattern, key, place, t, list(nth) FILTER (nth > 0) AS nths, bool_or(nth = 0) AS ends,
        any_value(CASE same WHEN '' THEN '' WHEN 'issue_id' THEN issue_id WHEN 'case_id' THEN case_id WHEN 'contact_id' THEN contact_id
                            WHEN 'session_id' THEN ids['session'] ELSE ids[same] END) AS shared,
        any_value(same) AS same
    FROM events JOIN pattern_types ON matches(type, name) JOIN patterns USING (pattern)
    GROUP BY ALL
)
WHERE same = '' OR shared <> '';

-- Of the first nth events of a pattern, the last of which is event n, the latest beginning that they can have.
CREATE TABLE sequences AS
WITH RECURSIVE reached AS (
    SELECT pattern, key, shared, n, nths, 1::BIGINT AS nth, CASE WHEN list_contains(nths, 1) THEN n END AS begun FROM pattern_events
    UNION ALL
    SELECT pattern, key, shared, n, nths, nth + 1,
        CASE WHEN list_contains(nths, nth + 1) THEN max(begun) OVER (
            PARTITION BY pattern, key, shared ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) END
    FROM reached JOIN patterns USING (pattern)
    WHERE nth < events
)
SELECT pattern, key, shared, n, begun, last.t, last.place
FROM reached
    JOIN patterns USING (pattern)
    JOIN pattern_events last USING (pattern, key, shared, n)
    JOIN pattern_events first ON first.pattern = last.pattern AND first.key = last.key AND first.shared = last.shared AND first.n = begun
WHERE nth = events AND last.t - first.t <= within;

-- No event is in two matches: the first that is complete counts, and the next begins after its end.
CREATE TABLE pattern_matches AS
WITH RECURSIVE matched AS (
    SELECT DISTINCT pattern, key, shared, 0::BIGINT AS n FROM sequences
    UNION ALL
    SELECT pattern, key, shared, min(sequences.n)
    FROM matched JOIN sequences USING (pattern, key, shared)
    WHERE sequences.begun > matched.n
    GROUP BY ALL
)
SELECT sequences.* FROM matched JOIN sequences USING (pattern, key, shared, n);

-- A match after which something may not come waits until that comes, or the time is over: then it is seen. over: the first event that the
-- next match can be complete with.
CREATE TABLE pattern_waits AS
WITH RECURSIVE waits AS (
    SELECT m.pattern, m.key, m.shared, m.n, m.t + absence AS due, min(e.n) AS over, coalesce(min_by(e.t, e.n) >= m.t + absence, true) AS is_seen
    FROM pattern_matches m
        JOIN patterns USING (pattern)
        LEFT JOIN pattern_events e
            ON e.pattern = m.pattern AND e.key = m.key AND e.shared = m.shared AND e.n > m.n AND (e.ends OR e.t >= m.t + absence)
    WHERE absence > 0
    GROUP BY m.pattern, m.key, m.shared, m.n, m.t, absence
), waiting AS (
    SELECT pattern, key, shared, min(n) AS n FROM waits GROUP BY ALL
    UNION ALL
    SELECT pattern, key, shared, min(later.n)
    FROM waiting JOIN waits USING (pattern, key, shared, n) JOIN waits later USING (pattern, key, shared)
    WHERE later.n >= waits.over
    GROUP BY ALL
)
SELECT waits.* FROM waiting JOIN waits USING (pattern, key, shared, n);

INSERT INTO facts
SELECT key, 'pattern ' || pattern, 1, at_event(t, place), at_deadline(t + counts_for)
FROM pattern_matches JOIN patterns USING (pattern)
WHERE absence = 0
UNION ALL
SELECT key, 'pattern ' || pattern, 1, at_deadline(due), at_deadline(due + counts_for)
FROM pattern_waits JOIN patterns USING (pattern)
WHERE is_seen;
