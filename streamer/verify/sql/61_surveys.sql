-- Surveys. Definitions: docs/reference/chapters/surveys.md.
-- In: events, roles, journeys, chapter_settings. Out: chapter_changes, facts.

CREATE TABLE survey_settings AS
SELECT setting('surveys', 'attribute_within')::BIGINT AS attribute_within, setting('surveys', 'latest_within')::BIGINT AS latest_within,
    setting('surveys', 'invitation_within')::BIGINT AS invitation_within, fixed(setting('surveys', 'satisfied_share'), 3) AS satisfied,
    from_json(setting('surveys', 'attribute_to'), '["VARCHAR"]') AS attribute_to,
    from_json(setting('surveys', 'loyalty_questions'), '["VARCHAR"]') AS loyalty_questions, setting('surveys', 'loyalty_scope') AS loyalty_scope;

-- What surveys may be about, under the journey that its touchpoint counts in; and by which ids.
CREATE TABLE survey_subjects AS
SELECT event, key, t, place, coalesce(of_role.journey, events.journey) AS journey, segment, persona, region,
    [ids['journey_id'], coalesce(nullif(ids['case_id'], ''), issue_id), ids['order_id']] AS names
FROM events
    LEFT JOIN (SELECT event, min(journey_no) AS journey_no FROM roles GROUP BY event) USING (event)
    LEFT JOIN journeys of_role USING (journey_no), survey_settings
WHERE type NOT IN ('survey.sent', 'survey.responded') AND len(list_filter(attribute_to, lambda pattern: matches(type, pattern))) > 0;

CREATE TABLE survey_events AS
SELECT event, key, t, place, type, journey, segment, persona, region,
    dimension(details ->> '$.survey.instrument') AS instrument, dimension(details ->> '$.survey.ces_version') AS version,
    coalesce(nullif(dimension(details ->> '$.survey.scope'), ''), 'experience') AS scope, id(details ->> '$.survey.question_id') AS question,
    fixed(details ->> '$.survey.score', 2) AS score,
    fixed(details ->> '$.survey.scale_min', 2) AS told_min, fixed(details ->> '$.survey.scale_max', 2) AS told_max,
    [coalesce(nullif(id(details ->> '$.survey.about.journey_id'), ''), ids['journey_id']),
     coalesce(nullif(id(details ->> '$.survey.about.case_id'), ''), nullif(ids['case_id'], ''), issue_id),
     coalesce(nullif(id(details ->> '$.survey.about.order_id'), ''), ids['order_id'])] AS names
FROM events
WHERE type IN ('survey.sent', 'survey.responded');

-- Whose dimensions it counts under: its own, or those of the last touchpoint it is about, but who the customer is by itself.
CREATE TABLE survey_cells AS
SELECT s.event, coalesce(about.event, s.event) AS counted,
    CASE WHEN about.event IS NOT NULL THEN MAP {
        'journey': about.journey, 'segment': coalesce(nullif(s.segment, ''), about.segment),
        'persona': coalesce(nullif(s.persona, ''), about.persona), 'region': coalesce(nullif(s.region, ''), about.region)} END AS own
FROM survey_events s LEFT JOIN (
    SELECT s.event AS survey, max_by(a.event, a.place) AS event
    FROM survey_events s JOIN survey_subjects a USING (key), survey_settings
    WHERE s.journey = '' AND a.place < s.place AND s.t - a.t <= attribute_within
        AND (s.names = ['', '', ''] OR (s.names[1] <> '' AND s.names[1] = a.names[1]) OR (s.names[2] <> '' AND s.names[2] = a.names[2])
             OR (s.names[3] <> '' AND s.names[3] = a.names[3]))
    GROUP BY s.event
) last ON last.survey = s.event LEFT JOIN survey_subjects about ON about.event = last.event;

-- Invitations: each answer takes the oldest one of its instrument that is still open.
CREATE TABLE survey_turns AS
SELECT event, key, instrument, t, type, row_number() OVER (PARTITION BY key, instrument ORDER BY place) AS n FROM survey_events;

CREATE TABLE answered_invitations AS
WITH RECURSIVE walk AS (
    SELECT DISTINCT key, instrument, 0::BIGINT AS n, NULL::BIGINT AS answered, []::STRUCT(event BIGINT, t BIGINT)[] AS waiting
    FROM survey_turns
    UNION ALL
    SELECT key, instrument, n, CASE WHEN type = 'survey.responded' THEN still[1].event END,
        CASE WHEN type = 'survey.responded' THEN still[2:] ELSE list_append(still, {'event': event, 't': t}) END
    FROM (
        SELECT e.*, list_filter(walk.waiting, lambda one: e.t - one.t <= invitation_within) AS still
        FROM walk JOIN survey_turns e ON e.key = walk.key AND e.instrument = walk.instrument AND e.n = walk.n + 1, survey_settings
    )
)
SELECT answered AS event FROM walk WHERE answered IS NOT NULL;

INSERT INTO chapter_changes
SELECT counter, 1, t, counted, own
FROM (SELECT event, 'INVITATIONS' AS counter FROM survey_events WHERE type = 'survey.sent'
      UNION ALL SELECT event, 'INVITATIONS_ANSWERED' FROM answered_invitations)
    JOIN survey_events USING (event) JOIN survey_cells USING (event);

-- Answers that are on the scale of their instrument.
CREATE TABLE answers AS
SELECT *
FROM (
    SELECT *, coalesce(told_min, usual_min) AS least, coalesce(told_max, usual_max) AS most
    FROM (
        SELECT *, CASE WHEN instrument = 'nps' THEN 0 ELSE 100 END AS usual_min,
            CASE WHEN instrument = 'nps' THEN 1000 WHEN instrument = 'ces' AND version = '2.0' THEN 700 ELSE 500 END AS usual_max
        FROM survey_events JOIN survey_cells USING (event)
        WHERE type = 'survey.responded' AND score IS NOT NULL
    )
)
WHERE least < most AND least >= -100000 AND most <= 100000 AND score BETWEEN least AND most;

-- NPS: only the latest answer counts, unless the next one came when this one was forgotten.
CREATE TABLE nps_answers AS
SELECT *, lead(t) OVER (PARTITION BY key, scope ORDER BY place) AS answered_again
FROM answers
WHERE instrument = 'nps' AND least = 0 AND most = 1000 AND score % 100 = 0 AND scope IN ('experience', 'relationship', 'benchmark');

INSERT INTO chapter_changes
SELECT 'NPS_' || upper(scope) || kind, 1, t, counted, own
FROM nps_answers, survey_settings, (VALUES ('_ANSWERS', 0, 1000), ('_PROMOTERS', 900, 1000), ('_DETRACTORS', 0, 600)) AS kinds (kind, low, high)
WHERE (answered_again IS NULL OR answered_again - t >= latest_within) AND score BETWEEN low AND high;

-- CSAT and CES: every answer counts. What a counter adds is NULL where the answer is none of its.
INSERT INTO chapter_changes
SELECT prefix || upper(scope) || part, n, t, counted, own
FROM (
    SELECT scope, t, counted, own, 'CSAT_' AS prefix, least = 100 AND most = 500 AS on_five, unnest([
        {'part': '_ANSWERS', 'n': 1},
        {'part': '_SATISFIED', 'n': CASE WHEN on_five THEN score >= 400 ELSE (score - least) * 1000 >= satisfied * (most - least) END::INT},
        {'part': '_RATED', 'n': on_five::INT},
        {'part': '_POINTS', 'n': on_five::INT * score},
        {'part': '_POINTS_SQUARED', 'n': on_five::INT * score * score}
    ], recursive := true)
    FROM answers, survey_settings
    WHERE instrument = 'csat' AND scope IN ('experience', 'relationship', 'benchmark')
    UNION ALL
    SELECT scope, t, counted, own, 'CES_', true, unnest([
        {'part': '_ANSWERS', 'n': 1}, {'part': '_AGREED', 'n': (score >= 500)::INT},
        {'part': '_POINTS', 'n': score}, {'part': '_POINTS_SQUARED', 'n': score * score}
    ], recursive := true)
    FROM answers
    WHERE instrument = 'ces' AND version = '2.0' AND least = 100 AND most = 700 AND scope IN ('experience', 'relationship', 'benchmark')
    UNION ALL
    SELECT scope, t, counted, own, 'CES1_', true, unnest([
        {'part': '_ANSWERS', 'n': 1}, {'part': '_EASY', 'n': (score <= 200)::INT}, {'part': '_POINTS', 'n': score}
    ], recursive := true)
    FROM answers
    WHERE instrument = 'ces' AND version = '1.0' AND least = 100 AND most = 500 AND scope IN ('experience', 'relationship', 'benchmark')
)
WHERE n <> 0;

-- The loyalty index: items of one scope and of whatever instrument but CES, stretched to 0-100, in hundredths, half up.
INSERT INTO chapter_changes
SELECT counter, CASE counter WHEN 'LOYALTY_ANSWERS' THEN 1 WHEN 'LOYALTY_POINTS' THEN points ELSE points * points END, t, counted, own
FROM (
    SELECT t, counted, own, ((score - least) * 20000 + (most - least)) // (2 * (most - least)) AS points
    FROM answers, survey_settings
    WHERE instrument <> 'ces' AND scope = loyalty_scope AND list_contains(loyalty_questions, question)
), (VALUES ('LOYALTY_ANSWERS'), ('LOYALTY_POINTS'), ('LOYALTY_POINTS_SQUARED')) AS counters (counter);

-- The latest answer of each scope, of CSAT stretched to 1-5 in hundredths, rounded down, until the next one or until it is too old.
INSERT INTO facts
SELECT key, fact, points, at_event(t, place),
    least(at_event(lead(t) OVER later, lead(place) OVER later), at_deadline(t + latest_within))
FROM (
    SELECT key, scope, t, place, 'nps' AS fact, score / 100 AS points FROM nps_answers
    UNION ALL
    SELECT key, scope, t, place, instrument || CASE instrument WHEN 'ces' THEN ' ' || version ELSE '' END,
        CASE instrument WHEN 'csat' THEN 100 + 400 * (score - least) // (most - least) ELSE score END / 100
    FROM answers
    WHERE scope IN ('experience', 'relationship', 'benchmark')
        AND (instrument = 'csat' OR (instrument = 'ces' AND least = 100 AND most = CASE version WHEN '2.0' THEN 700 WHEN '1.0' THEN 500 END))
), survey_settings
WINDOW later AS (PARTITION BY key, fact, scope ORDER BY place);
