-- Causes. Definitions: docs/reference/chapters/causes.md.
-- In: events, chapter_settings, ends. Out: chapter_changes, undecided_chapter_changes, facts.

CREATE TABLE cause_signals AS
SELECT event, key, part, t, place,
    left(coalesce(nullif(friction_kind, ''), type), 64)
        || coalesce(':' || left(coalesce(nullif(friction_code, ''), nullif(reason, '')), 63), '') AS cause
FROM events
WHERE len(list_filter(setting('causes', 'types')::JSON::VARCHAR[], lambda pattern: matches(type, pattern))) > 0;

INSERT INTO chapter_changes SELECT 'CAUSES', 1, t, event, MAP {'cause': cause} FROM cause_signals;

-- A customer has a cause until so long after the latest signal of it: where the gap reaches that, he has it anew.
CREATE TABLE cause_spells AS
SELECT counter, key, part, cause, first(event ORDER BY place) AS event, min(t) AS begun, max(t) + span AS ends
FROM (
    SELECT *, sum(begins::INT) OVER (PARTITION BY counter, key, cause ORDER BY place) AS spell
    FROM (
        SELECT *, coalesce(t - lag(t) OVER (PARTITION BY counter, key, cause ORDER BY place) >= span, true) AS begins
        FROM cause_signals, (VALUES ('CAUSE_CUSTOMERS_HOUR', 3600000), ('CAUSE_CUSTOMERS_DAY', 86400000)) AS spans (counter, span)
    )
)
GROUP BY counter, key, part, cause, spell, span;

INSERT INTO chapter_changes SELECT counter, 1, begun, event, MAP {'cause': cause} FROM cause_spells;

CREATE TABLE causes_left AS
SELECT counter, -1 AS n, cause_spells.ends AS t, event, MAP {'cause': cause} AS own
FROM cause_spells JOIN ends USING (part) WHERE cause_spells.ends <= ends.clock;

INSERT INTO chapter_changes SELECT causes_left.* FROM causes_left, settings WHERE t < decided + 1000;
INSERT INTO undecided_chapter_changes SELECT causes_left.* FROM causes_left, settings WHERE t >= decided + 1000;

-- How often a customer has met a cause within one spell of a day.
INSERT INTO facts
SELECT key, 'cause met', row_number() OVER (PARTITION BY key, cause, spell ORDER BY place), at_event(t, place),
    at_deadline(max(t) OVER (PARTITION BY key, cause, spell) + 86400000)
FROM (
    SELECT *, sum(begins::INT) OVER (PARTITION BY key, cause ORDER BY place) AS spell
    FROM (SELECT *, coalesce(t - lag(t) OVER (PARTITION BY key, cause ORDER BY place) >= 86400000, true) AS begins FROM cause_signals)
);
