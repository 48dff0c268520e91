-- Journey instances. Definitions: docs/reference/journeys.md (Journey instances).
-- In:  events, late_events, roles, kinds, journeys. Out: named (which instance an event names), changes.

-- The rank of the strongest id that both have.
CREATE MACRO common_rank(told, known) AS
    list_position(list_transform(range(1, len(told) + 1), lambda r: told[r] IS NOT NULL AND known[r] IS NOT NULL), true);

-- The instance an event names: the one that has its value of the strongest id possible, no stronger id of both differing; the oldest.
CREATE MACRO named_by(told, instances) AS
    list_min(list_transform(
        list_filter(instances, lambda i: told[common_rank(told, i.known)] = i.known[common_rank(told, i.known)]),
        lambda i: {'rank': common_rank(told, i.known), 'no': i.no})).no;

-- One step is one event of a customer in a journey. Kept are the instances that are open or abandoned and recoverable: no (the step
-- that began it), begun (when), known (its ids, strongest first), last (its last activity). A deadline at exactly the event's time comes
-- before it. The relation has key, journey_no, n (1, 2, ... in event order), event, t, type, role, happened (t, but of a late completion
-- its own time), told (ids, strongest first), deadline and recoverable_for; and world: 0 for the whole log, else what was known when that
-- event arrived.
CREATE MACRO walked(relation) AS TABLE
WITH RECURSIVE walk AS (
    SELECT DISTINCT world, key, journey_no, 0::BIGINT AS n, NULL::BIGINT AS event, NULL::BIGINT AS t, NULL::VARCHAR AS role,
        NULL::BIGINT AS named_before, NULL::BIGINT AS found, NULL::BIGINT AS named_after, []::BIGINT[] AS linked,
        []::STRUCT(no BIGINT, begun BIGINT, known VARCHAR[], last BIGINT)[] AS instances
    FROM query_table(relation)
    UNION ALL
    SELECT world, key, journey_no, n, event, t, CASE WHEN found IS NULL AND role <> 'start' THEN NULL ELSE role END,
        named_before, found, named_by(told, remaining), linked, remaining
    FROM (
        SELECT *, CASE WHEN type = 'identity.linked'
                THEN list_transform(list_filter(after_role, lambda i: t < i.last + deadline), lambda i: i.no) ELSE [] END AS linked,
            list_filter(after_role, lambda i: NOT list_contains(linked, i.no)) AS remaining
        FROM (
            SELECT *, CASE
                WHEN role IS NULL OR (found IS NULL AND role <> 'start') THEN alive
                WHEN found IS NULL THEN list_append(alive, {'no': n, 'begun': t, 'known': told, 'last': t})
                WHEN role IN ('complete', 'fail', 'late completion') THEN list_filter(alive, lambda i: i.no <> found)
                ELSE list_transform(alive, lambda i: CASE WHEN i.no <> found THEN i ELSE {'no': i.no, 'begun': i.begun, 'last': t,
                    'known': list_transform(range(1, len(told) + 1), lambda r: coalesce(i.known[r], told[r]))} END)
                END AS after_role
            FROM (
                SELECT *, named_by(told, alive) AS named_before,
                    CASE WHEN role = 'late completion'
                            AND coalesce(one.last + deadline > t OR one.begun > happened, true) THEN NULL
                         WHEN role IS NOT NULL THEN belongs_to END AS found
                FROM (
                    SELECT *, CASE WHEN len(list_filter(told, lambda value: value IS NOT NULL)) = 0 THEN alive[-1].no
                                   ELSE named_by(told, alive) END AS belongs_to,
                        list_filter(alive, lambda i: i.no = belongs_to)[1] AS one
                    FROM (
                        SELECT e.*, list_filter(walk.instances, lambda i: e.t < i.last + e.deadline + e.recoverable_for) AS alive
                        FROM walk JOIN query_table(relation) e
                            ON e.world = walk.world AND e.key = walk.key AND e.journey_no = walk.journey_no AND e.n = walk.n + 1
                    )
                )
            )
        )
    )
)
SELECT * EXCLUDE (instances) FROM walk WHERE n > 0;

-- What a journey looks at: the events with a role in it, links, and what may be friction, if it has an id of the journey.
CREATE TABLE looked_at AS
SELECT event, key, t, t AS happened, off, type, ids, journey_no, role
FROM events JOIN roles USING (event)
UNION ALL
SELECT event, key, t, t, off, type, ids, journey_no, NULL
FROM events LEFT JOIN kinds USING (event), journeys
WHERE (event, journey_no) NOT IN (SELECT (event, journey_no) FROM roles)
    AND (type = 'identity.linked'
         OR ((type IN ('payment.failed', 'form.error', 'friction.signal') OR kinds.event IS NOT NULL
              OR type IN (FROM chapter_friction_types))
             AND len(list_filter(id_names, lambda name: ids[name] <> '')) > 0));

-- What comes late and would complete an instance counts at the clock, if by what was known then there was one to recover that had begun
-- by its own time.
CREATE TABLE late_completions AS
SELECT event, key, clock AS t, t AS happened, off, type, ids, journey_no, 'late completion' AS role
FROM late_events JOIN roles USING (event)
WHERE role = 'complete';

CREATE MACRO in_order(relation) AS TABLE
SELECT world, event, key, t, happened, type, role, journey_no, deadline, recoverable_for,
    list_transform(id_names, lambda name: nullif(ids[name], '')) AS told,
    row_number() OVER (PARTITION BY world, key, journey_no ORDER BY t, off) AS n
FROM query_table(relation) JOIN journeys USING (journey_no);

-- Known then is what had arrived, and a deadline has fired also by an event of the customer that is ahead of the clock.
CREATE TABLE known_then AS
SELECT late.event AS world, before.* REPLACE (
    CASE WHEN before.event = late.event
         THEN greatest(late.t, (SELECT max(t) FROM events WHERE events.key = late.key AND events.off < late.off)) ELSE before.t END AS t)
FROM late_completions late
    JOIN (FROM looked_at UNION ALL FROM late_completions) before
        ON before.key = late.key AND before.journey_no = late.journey_no AND before.off <= late.off;

CREATE TABLE known_then_in_order AS FROM in_order('known_then');

CREATE TABLE known_at_last AS
SELECT 0 AS world, * FROM looked_at
UNION ALL
SELECT 0, late_completions.*
FROM late_completions
    SEMI JOIN (FROM walked('known_then_in_order') WHERE world = event AND found IS NOT NULL) recovering USING (event, journey_no);

CREATE TABLE journey_events AS FROM in_order('known_at_last');
CREATE TABLE steps AS FROM walked('journey_events');

-- Which instance of which journey an event names by an id: before it is applied (what an effort belongs to) and after (friction).
CREATE TABLE named AS
SELECT event, key, journey_no, named_before, named_after FROM steps WHERE named_before IS NOT NULL OR named_after IS NOT NULL;

CREATE TABLE members AS
SELECT key, journey_no, coalesce(found, n) AS instance, n, t, event, role FROM steps WHERE role IS NOT NULL
UNION ALL
SELECT key, journey_no, unnest(linked), n + 0.5, t, event, 'linked' FROM steps WHERE len(linked) > 0;

-- The event that began an instance, whose dimensions its counters carry.
CREATE TABLE instances AS
SELECT key, journey_no, instance, any_value(event) AS begun_by, any_value(t) AS begun
FROM members WHERE n = instance GROUP BY ALL;

-- An instance's life: at each of its events, whether the deadline after the one before has passed.
CREATE TABLE lives AS
SELECT *, before + deadline AS due, coalesce(before + deadline <= t, false) AS abandoned
FROM (
    SELECT members.*, begun_by, journey, deadline, recoverable_for,
        lag(t) OVER life AS before,
        lead(t) OVER life IS NULL AS is_last
    FROM members JOIN instances USING (key, journey_no, instance) JOIN journeys USING (journey_no)
    WINDOW life AS (PARTITION BY key, journey_no, instance ORDER BY n)
);

INSERT INTO changes
SELECT counter, n, moment, begun_by, journey, '' FROM (
    SELECT begun_by, journey, unnest(list_filter([
        {'counter': 'STARTED',    'n': 1,  'moment': t,   'if': before IS NULL},
        {'counter': 'OPEN',       'n': 1,  'moment': t,   'if': before IS NULL},
        {'counter': 'ABANDONED',  'n': 1,  'moment': due, 'if': abandoned},
        {'counter': 'OPEN',       'n': -1, 'moment': due, 'if': abandoned},
        {'counter': 'ABANDONED',  'n': -1, 'moment': due, 'if': abandoned AND role IN ('start', 'activity', 'complete', 'late completion')},
        {'counter': 'OPEN',       'n': 1,  'moment': t,   'if': abandoned AND role IN ('start', 'activity')},
        {'counter': 'RECOVERED',  'n': 1,  'moment': t,   'if': abandoned AND role IN ('complete', 'late completion')},
        {'counter': 'COMPLETED',  'n': 1,  'moment': t,   'if': before IS NOT NULL AND role IN ('complete', 'late completion')},
        {'counter': 'FAILED',     'n': 1,  'moment': t,   'if': before IS NOT NULL AND NOT abandoned AND role = 'fail'},
        {'counter': 'SUPPRESSED', 'n': 1,  'moment': t,   'if': role = 'linked'},
        {'counter': 'OPEN',       'n': -1, 'moment': t,   'if': before IS NOT NULL AND NOT abandoned
                                                               AND role IN ('complete', 'fail', 'linked')}
    ], lambda change: change."if"), recursive := true)
    FROM lives
);

-- Nothing came after: the deadline of what is still open has passed by the clock at the end of the log, or has not.
CREATE TABLE fallen_due AS
SELECT counter, fallen.n, lives.t + deadline AS t, begun_by AS event, lives.journey, '' AS team
FROM lives JOIN events ON events.event = begun_by JOIN ends USING (part), (VALUES ('ABANDONED', 1), ('OPEN', -1)) AS fallen (counter, n)
WHERE is_last AND role IN ('start', 'activity') AND lives.t + deadline <= ends.clock;

INSERT INTO changes SELECT fallen_due.* FROM fallen_due, settings WHERE t < decided + 1000;
INSERT INTO undecided_changes SELECT fallen_due.* FROM fallen_due, settings WHERE t >= decided + 1000;
