-- Surveys. Definitions: docs/reference/catalogue.md (S).
-- In: events, chapter_settings. Out: chapter_changes.

CREATE TABLE nps_answers AS
SELECT event, key, t, place, scope, score, lead(t) OVER (PARTITION BY key, scope ORDER BY place) AS answered_again
FROM (
    SELECT *, coalesce(nullif(dimension(details ->> '$.survey.scope'), ''), 'experience') AS scope,
        fixed(details ->> '$.survey.score', 2) AS score
    FROM events
    WHERE type = 'survey.responded' AND details ->> '$.survey.instrument' = 'nps'
)
WHERE scope IN ('experience', 'relationship', 'benchmark') AND score % 100 = 0 AND score BETWEEN 0 AND 1000;

-- Only the latest answer counts, unless the next one came when this one was forgotten.
INSERT INTO chapter_changes
SELECT 'NPS_' || upper(scope) || kind, 1, t, event, NULL
FROM nps_answers, (VALUES ('_ANSWERS', 0, 1000), ('_PROMOTERS', 900, 1000), ('_DETRACTORS', 0, 600)) AS kinds (kind, least, most)
WHERE (answered_again IS NULL OR answered_again - t >= setting('surveys', 'latest_within')::BIGINT) AND score BETWEEN least AND most;
