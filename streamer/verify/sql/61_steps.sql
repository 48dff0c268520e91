-- Steps of journeys. Definitions: docs/reference/chapters/steps.md.
-- In: events, lives, instances, named, friction, journey_events, journeys, ends, metric_parts. Out: chapter_changes,
-- undecided_chapter_changes, facts.

-- A visit: an instance comes to another step than the one it is on. What is counted of a step is so where the instance came to it first.
CREATE TABLE visits AS
SELECT *, lead(t) OVER life AS left_at,
    first_value(event) OVER (PARTITION BY key, journey_no, instance, step ORDER BY n) AS first_event,
    first_value(t) OVER (PARTITION BY key, journey_no, instance, step ORDER BY n) AS first_t
FROM (
    SELECT lives.*, events.step, lag(events.step) OVER (PARTITION BY lives.key, journey_no, instance ORDER BY n) AS previous_step
    FROM lives JOIN events ON events.event = lives.event
    WHERE role IN ('start', 'activity') AND events.step <> ''
)
WHERE step IS DISTINCT FROM previous_step
WINDOW life AS (PARTITION BY key, journey_no, instance ORDER BY n);

CREATE TABLE last_words AS
SELECT *, role IN ('complete', 'late completion') OR (role = 'fail' AND NOT abandoned) AS ends_the_stay
FROM lives WHERE role IN ('complete', 'fail', 'linked', 'late completion');

-- due: of what a deadline decides that nothing came after.
CREATE TABLE step_changes (counter VARCHAR, t BIGINT, event BIGINT, own MAP(VARCHAR, VARCHAR), due BIGINT);

INSERT INTO step_changes
SELECT 'STEPS_REACHED', t, event, MAP {'journey': journey}, NULL FROM visits WHERE event = first_event
UNION ALL
SELECT 'STEP_TRANSITIONS', t, event, MAP {'journey': journey, 'previous_step': previous_step}, NULL FROM visits WHERE previous_step <> '';

INSERT INTO step_changes
SELECT counter, ended, first_event, MAP {'journey': journey}, NULL
FROM (
    SELECT v.*, coalesce(v.left_at, w.t) AS ended, ended - v.t AS stay
    FROM visits v LEFT JOIN (FROM last_words WHERE ends_the_stay) w USING (key, journey_no, instance)
) JOIN metric_parts ON metric = 'step_time_median'
    AND stay <= coalesce(upper_edge * 1000, stay) AND (stay > lower_edge * 1000 OR bucket = 0)
WHERE ended IS NOT NULL;

-- Abandoned for good: failed while abandoned, or nothing came after the deadline.
INSERT INTO step_changes
SELECT 'STEPS_ABANDONED', abandoned_at, v.first_event, MAP {'journey': v.journey}, last_due
FROM (
    SELECT key, journey_no, instance, n, due AS abandoned_at, NULL::BIGINT AS last_due FROM lives WHERE abandoned AND role = 'fail'
    UNION ALL
    SELECT lives.key, journey_no, instance, n, lives.t + deadline, lives.t + deadline
    FROM lives JOIN events ON events.event = begun_by JOIN ends USING (part)
    WHERE is_last AND role IN ('start', 'activity') AND lives.t + deadline <= ends.clock
) lost
    ASOF JOIN visits v ON v.key = lost.key AND v.journey_no = lost.journey_no AND v.instance = lost.instance AND v.n <= lost.n;

INSERT INTO step_changes
SELECT DISTINCT 'STEPS_FRICTION', v.first_t, v.first_event, MAP {'journey': v.journey}, NULL::BIGINT
FROM (
    SELECT named.key, journey_no, named_after, n
    FROM named JOIN journey_events USING (event, key, journey_no)
    WHERE named.event IN (FROM friction)
) met
    ASOF JOIN visits v ON v.key = met.key AND v.journey_no = met.journey_no AND v.instance = met.named_after AND v.n <= met.n;

-- A stretch on one step begins where the instance comes to it or is reopened, and ends there again, at its end, or by abandonment.
CREATE TABLE stalls AS
SELECT stretches.*
FROM (
    SELECT s.*, v.first_event, s.t + stall_after AS stalled_at
    FROM (
        SELECT *, CASE WHEN next_t IS NULL THEN last_due WHEN next_abandoned THEN next_due ELSE next_t + 1 END AS over_by
        FROM (
            SELECT *, lead(t) OVER life AS next_t, lead(place) OVER life AS next_place, lead(abandoned) OVER life AS next_abandoned,
                lead(due) OVER life AS next_due
            FROM (
                SELECT lives.*, place, role NOT IN ('start', 'activity') AS ends_it, v.came IS NOT NULL AS comes,
                    max(lives.t) OVER (PARTITION BY lives.key, lives.journey_no, lives.instance) + deadline AS last_due
                FROM lives LEFT JOIN (SELECT event, place FROM events) USING (event)
                    LEFT JOIN (SELECT key, journey_no, instance, n, event AS came FROM visits) v USING (key, journey_no, instance, n)
            )
            WHERE comes OR abandoned OR ends_it
            WINDOW life AS (PARTITION BY key, journey_no, instance ORDER BY n)
        )
        WHERE NOT ends_it
    ) s
        ASOF JOIN visits v ON v.key = s.key AND v.journey_no = s.journey_no AND v.instance = s.instance AND v.n <= s.n
        JOIN journeys ON journeys.journey_no = s.journey_no
) stretches JOIN events ON events.event = first_event JOIN ends USING (part)
WHERE stalled_at < over_by AND stalled_at <= ends.clock;

INSERT INTO step_changes SELECT 'STEP_STALLS', stalled_at, first_event, MAP {'journey': journey}, stalled_at FROM stalls;

INSERT INTO facts
SELECT key, 'stalled', 1, at_deadline(stalled_at),
    CASE WHEN next_t IS NULL THEN at_abandonment(last_due) WHEN next_abandoned THEN at_abandonment(next_due)
         ELSE at_event(next_t, next_place) END
FROM stalls;

-- Of whole instances: how many events, how far.
CREATE TABLE walks AS
SELECT begun_by, begun, journeys.journey, named_steps, touched,
    CASE WHEN completed THEN 1000 ELSE coalesce(furthest, 0) * 1000 // greatest(len(named_steps), 1) END AS done
FROM instances JOIN journeys USING (journey_no)
    JOIN (
        SELECT key, journey_no, instance, count(*) FILTER (role IN ('start', 'activity', 'complete', 'fail')) AS touched,
            bool_or(role IN ('complete', 'late completion')) AS completed
        FROM lives GROUP BY ALL
    ) USING (key, journey_no, instance)
    LEFT JOIN (
        SELECT key, journey_no, instance, max(nullif(list_position(named_steps, step), 0)) - 1 AS furthest
        FROM visits JOIN journeys USING (journey_no) GROUP BY ALL
    ) USING (key, journey_no, instance);

INSERT INTO chapter_changes
SELECT counter, n, begun, begun_by, MAP {'journey': journey, 'step': ''}
FROM (
    SELECT begun, begun_by, journey, unnest([
        {'counter': 'JOURNEYS_WALKED', 'n': 1},
        {'counter': 'JOURNEY_TOUCHPOINTS', 'n': touched},
        {'counter': 'JOURNEY_TOUCHPOINTS_SQUARED', 'n': touched * touched}
    ], recursive := true)
    FROM walks
    UNION ALL
    SELECT begun, begun_by, journey, unnest([
        {'counter': 'JOURNEYS_WITH_STEPS', 'n': 1},
        {'counter': 'JOURNEY_PROGRESS', 'n': done},
        {'counter': 'JOURNEY_PROGRESS_SQUARED', 'n': done * done}
    ], recursive := true)
    FROM walks WHERE len(named_steps) > 0
);

INSERT INTO chapter_changes SELECT counter, 1, t, event, own FROM step_changes, settings WHERE coalesce(due < decided + 1000, true);
INSERT INTO undecided_chapter_changes SELECT counter, 1, t, event, own FROM step_changes, settings WHERE due >= decided + 1000;
