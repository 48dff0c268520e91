-- What an event's type means under the definitions.
-- In:  events, late_events, journeys, role_patterns, kind_patterns.
-- Out: roles (event, journey: its one role), kinds (event: what it does to contacts and cases).

-- A pattern that ends in .* stands for every type that begins so.
CREATE MACRO matches(type, pattern) AS
    CASE WHEN right(pattern, 2) = '.*' THEN starts_with(type, left(pattern, length(pattern) - 1)) ELSE type = pattern END;

-- The first of start, complete, fail, activity that names the type; types journey.* only for the journey the event names.
CREATE TABLE roles AS
SELECT event, journey_no, arg_min(role, precedence) AS role
FROM (SELECT event, type, journey FROM events UNION ALL SELECT event, type, journey FROM late_events) e
    JOIN role_patterns ON matches(type, pattern)
    JOIN journeys USING (journey_no)
WHERE NOT starts_with(type, 'journey.') OR e.journey = journeys.journey
GROUP BY event, journey_no;

-- A machine passes it on to the first person: no transfer.
CREATE MACRO routed(at_channel, by_team, machines) AS list_contains(machines, at_channel) OR list_contains(machines, by_team);

CREATE TABLE kinds AS
WITH matched AS (SELECT event, list(DISTINCT kind) AS kinds FROM events JOIN kind_patterns ON matches(type, pattern) GROUP BY event)
SELECT event,
    initiator NOT IN ('company', 'system') AND list_contains(kinds, 'started') AS starts,
    initiator NOT IN ('company', 'system') AND list_contains(kinds, 'switch_on') AS switches,
    list_contains(kinds, 'reopened') AS reopens,
    list_contains(kinds, 'transferred') AND NOT routed(channel, from_team, routing) AS transfers,
    list_contains(kinds, 'resolved') AS ends,
    ends AND resolved IS DISTINCT FROM false AS resolves,
    list_contains(kinds, 'case') AS of_case,
    starts OR switches OR reopens OR transfers AS of_issue,
    starts OR reopens AS is_contact
FROM matched JOIN events USING (event), settings;

-- Every change of a counter: n in the pane of t, with the dimensions of an event; journey and team replace the event's own.
CREATE TABLE changes (counter VARCHAR, n BIGINT, t BIGINT, event BIGINT, journey VARCHAR, team VARCHAR);

-- The same, of the second that is not over yet at the end of the log: windows are as of the one before.
CREATE TABLE undecided_changes AS FROM changes;

-- Changes of the counters of chapters, which carry every dimension of their event; `own`: values that stand for the event's.
CREATE TABLE chapter_changes (counter VARCHAR, n BIGINT, t BIGINT, event BIGINT, own MAP(VARCHAR, VARCHAR));
CREATE TABLE undecided_chapter_changes AS FROM chapter_changes;

-- Friction signals that chapters find: an event is as many as it has rows.
CREATE TABLE chapter_friction (event BIGINT);

-- Effort that chapters find, by the name of its weight: as many rows as it counts.
CREATE TABLE chapter_effort (event BIGINT, kind VARCHAR);

INSERT INTO changes
SELECT 'TOUCHPOINTS', 1, t, event, coalesce(of_journey.journey, events.journey), ''
FROM events
    LEFT JOIN (SELECT event, min(journey_no) AS journey_no FROM roles GROUP BY event) USING (event)
    LEFT JOIN journeys of_journey USING (journey_no);
