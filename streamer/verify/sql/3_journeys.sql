-- Journey instances. Definitions: docs/reference/journeys.md (Journey instances).
-- In:  events, late_events, roles, kinds, journeys. Out: named (which instance an event names), changes.

-- The events that a journey looks at: those with a role in it, links, completions that came late (at the clock then), and what may be
-- friction, if it has an id of the journey.
CREATE TABLE journey_events AS
WITH looked_at AS (
    SELECT event, key, t, off, place, type, ids, journey_no, role
    FROM events JOIN roles USING (event)
    UNION ALL
    SELECT event, key, t, off, place, type, ids, journey_no, NULL
    FROM events LEFT JOIN kinds USING (event), journeys
    WHERE (event, journey_no) NOT IN (SELECT (event, journey_no) FROM roles)
        AND (type = 'identity.linked'
             OR ((type IN ('payment.failed', 'form.error', 'friction.signal') OR kinds.event IS NOT NULL)
                 AND len(list_filter(id_names, lambda name: ids[name] <> '')) > 0))
    UNION ALL
    SELECT event, key, clock, off, NULL, type, ids, journey_no, 'late completion'
    FROM late_events JOIN roles USING (event)
    WHERE role = 'complete'
)
SELECT event, key, t, type, role, journey_no, deadline, recoverable_for,
    list_transform(id_names, lambda name: nullif(ids[name], '')) AS told,
    row_number() OVER (PARTITION BY key, journey_no ORDER BY t, off) AS n
FROM looked_at JOIN journeys USING (journey_no);

-- The rank of the strongest id that both have.
CREATE MACRO common_rank(told, known) AS
    list_position(list_transform(range(1, len(told) + 1), lambda r: told[r] IS NOT NULL AND known[r] IS NOT NULL), true);

-- The instance an event names: the one that has its value of the strongest id possible, no stronger id of both differing; the oldest.
CREATE MACRO named_by(told, instances) AS
    list_min(list_transform(
        list_filter(instances, lambda i: told[common_rank(told, i.known)] = i.known[common_rank(told, i.known)]),
        lambda i: {'rank': common_rank(told, i.known), 'no': i.no})).no;

-- One step is one event of a customer in a journey. Kept are the instances that are open or abandoned and recoverable: no (the step
-- that began it), known (its ids, strongest first), last (its last activity). A deadline at exactly the event's time comes before it.
CREATE TABLE steps AS
WITH RECURSIVE walk AS (
    SELECT DISTINCT key, journey_no, 0::BIGINT AS n, NULL::BIGINT AS event, NULL::BIGINT AS t, NULL::VARCHAR AS role,
        NULL::BIGINT AS named_before, NULL::BIGINT AS found, NULL::BIGINT AS named_after, []::BIGINT[] AS linked,
        []::STRUCT(no BIGINT, known VARCHAR[], last BIGINT)[] AS instances
    FROM journey_events
    UNION ALL
    SELECT key, journey_no, n, event, t, CASE WHEN found IS NULL AND role <> 'start' THEN NULL ELSE role END,
        named_before, found, named_by(told, remaining), linked, remaining
    FROM (
        SELECT *, CASE WHEN type = 'identity.linked'
                THEN list_transform(list_filter(after_role, lambda i: t < i.last + deadline), lambda i: i.no) ELSE [] END AS linked,
            list_filter(after_role, lambda i: NOT list_contains(linked, i.no)) AS remaining
        FROM (
            SELECT *, CASE
                WHEN role IS NULL OR (found IS NULL AND role <> 'start') THEN alive
                WHEN found IS NULL THEN list_append(alive, {'no': n, 'known': told, 'last': t})
                WHEN role IN ('complete', 'fail', 'late completion') THEN list_filter(alive, lambda i: i.no <> found)
                ELSE list_transform(alive, lambda i: CASE WHEN i.no <> found THEN i ELSE
                    {'no': i.no, 'known': list_transform(range(1, len(told) + 1), lambda r: coalesce(i.known[r], told[r])), 'last': t} END)
                END AS after_role
            FROM (
                SELECT *, named_by(told, alive) AS named_before,
                    CASE WHEN role = 'late completion' AND coalesce(list_filter(alive, lambda i: i.no = belongs_to)[1].last + deadline > t, true)
                         THEN NULL WHEN role IS NOT NULL THEN belongs_to END AS found
                FROM (
                    SELECT *, CASE WHEN len(list_filter(told, lambda value: value IS NOT NULL)) = 0 THEN alive[-1].no
                                   ELSE named_by(told, alive) END AS belongs_to
                    FROM (
                        SELECT e.*, list_filter(walk.instances, lambda i: e.t < i.last + e.deadline + e.recoverable_for) AS alive
                        FROM walk JOIN journey_events e ON e.key = walk.key AND e.journey_no = walk.journey_no AND e.n = walk.n + 1
                    )
                )
            )
        )
    )
)
SELECT * EXCLUDE (instances) FROM walk WHERE n > 0;

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
        {'counter': 'OPEN',       'n': -1, 'moment': t,   'if': before IS NOT NULL AND NOT abandoned AND role IN ('complete', 'fail', 'linked')}
    ], lambda change: change."if"), recursive := true)
    FROM lives
);

-- Nothing came after: the deadline of what is still open has passed by the end of the log, or has not.
INSERT INTO changes
SELECT counter, fallen_due.n, t + deadline, begun_by, journey, ''
FROM lives, settings, (VALUES ('ABANDONED', 1), ('OPEN', -1)) AS fallen_due (counter, n)
WHERE is_last AND role IN ('start', 'activity') AND t + deadline <= clock;
