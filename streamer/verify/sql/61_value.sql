-- Value. Definitions: docs/reference/chapters/value.md.
-- In: events, journeys, instances, members, chapter_settings. Out: chapter_changes, facts.

-- What is the same JSON is apart by 0, anything else by 1; the order of an object's members does not matter.
CREATE MACRO same_json(one, other) AS
    (SELECT list((fullkey, type, atom) ORDER BY fullkey) FROM json_tree(one))
    IS NOT DISTINCT FROM (SELECT list((fullkey, type, atom) ORDER BY fullkey) FROM json_tree(other));

CREATE TABLE preferences AS
SELECT *
FROM (
    SELECT event, key, place, t, dimension(details ->> '$.preference.attribute') AS attribute,
        coalesce(fixed(details ->> '$.preference.weight', 3), 1000) AS weight,
        CASE WHEN coalesce(json_type(details, '$.preference.distance'), 'NULL') <> 'NULL' THEN fixed(details ->> '$.preference.distance', 3)
             WHEN coalesce(json_type(details, '$.preference.ideal'), 'NULL') <> 'NULL'
                 AND coalesce(json_type(details, '$.preference.received'), 'NULL') <> 'NULL'
             THEN CASE WHEN same_json(details -> '$.preference.ideal', details -> '$.preference.received') THEN 0 ELSE 1000 END END AS distance
    FROM events
    WHERE type = 'preference.stated'
)
WHERE distance BETWEEN 0 AND 1000 AND weight BETWEEN 1 AND 1000000;

INSERT INTO chapter_changes
SELECT counter, CASE counter WHEN 'PREFERENCES' THEN 1 WHEN 'SACRIFICE_WEIGHTED' THEN weight * distance WHEN 'SACRIFICE_WEIGHT' THEN weight
                             WHEN 'SACRIFICE' THEN distance ELSE distance * distance END,
    t, event, CASE WHEN attribute <> '' THEN MAP {'cause': attribute} END
FROM preferences, (VALUES ('PREFERENCES'), ('SACRIFICE_WEIGHTED'), ('SACRIFICE_WEIGHT'), ('SACRIFICE'), ('SACRIFICE_SQUARED')) AS c (counter);

INSERT INTO chapter_changes
SELECT upper(value_level) || '_TOUCHPOINTS', 1, t, event, NULL FROM events WHERE value_level <> '';

-- What a customer stated lately.
INSERT INTO facts
SELECT key, fact, amount, at_event(t, place), at_deadline(t + setting('value', 'sacrifice_within')::BIGINT)
FROM preferences, LATERAL (VALUES ('preference weight', weight), ('preference weighted', weight * distance)) parts (fact, amount);

-- Journeys carry only what journeys carry.
INSERT INTO chapter_changes
SELECT counter, 1, begun, begun_by,
    MAP {'journey': journey, 'stage': '', 'step': '', 'team': '', 'partner': '', 'previous_step': '', 'cause': ''}
FROM (
    SELECT 'JOURNEYS' AS counter, journey_no, begun, begun_by FROM instances
    UNION ALL
    SELECT DISTINCT upper(value_level) || '_JOURNEYS', members.journey_no, begun, begun_by
    FROM members JOIN events USING (event) JOIN instances ON instances.key = members.key AND instances.journey_no = members.journey_no
        AND instances.instance = members.instance
    WHERE value_level <> '' AND role IN ('start', 'activity', 'complete', 'fail')
) JOIN journeys USING (journey_no);

-- A goal ends when it is reached, or so long after its last event; it begins with the first setting after that.
CREATE TABLE goal_events AS
SELECT *, min(place) FILTER (type = 'goal.set') OVER (PARTITION BY key, goal, no) AS set_at
FROM (
    SELECT *, sum(begins::INT) OVER (PARTITION BY key, goal ORDER BY place) AS no
    FROM (
        SELECT *, coalesce(lag(type) OVER history = 'goal.reached'
                           OR t - lag(t) OVER history >= setting('value', 'goal_within')::BIGINT, true) AS begins
        FROM (SELECT event, key, place, t, type, id(details ->> '$.goal.goal_id') AS goal FROM events WHERE starts_with(type, 'goal.'))
        WINDOW history AS (PARTITION BY key, goal ORDER BY place)
    )
);

INSERT INTO chapter_changes
SELECT counter, 1, set_t, set_by, NULL
FROM (
    SELECT key, goal, no, min(t) FILTER (place = set_at) AS set_t, min(event) FILTER (place = set_at) AS set_by,
        bool_or(type <> 'goal.set') AS progressed, bool_or(type = 'goal.reached') AS reached
    FROM goal_events WHERE place >= set_at GROUP BY ALL
), (VALUES ('GOALS'), ('GOALS_PROGRESSED'), ('GOALS_REACHED')) AS counters (counter)
WHERE counter = 'GOALS' OR (counter = 'GOALS_PROGRESSED' AND progressed) OR (counter = 'GOALS_REACHED' AND reached);
