-- The effort index of issues. Definitions: docs/reference/journeys.md (Issues).
-- In: issue_events, subjects, signals, chapter_effort, weights, settings. Out: changes, found_effort (event, issue, kind), core_events.

-- What chapters have found, with the issue whose effort index it adds to, if that is open. What weighs nothing is no effort.
CREATE TABLE found_effort AS
SELECT f.event, CASE WHEN i.t + contact_window > f.t THEN i.issue END AS issue, kind
FROM (FROM chapter_effort JOIN weights USING (kind) JOIN subjects USING (event) WHERE weight_tenths > 0) f
    ASOF LEFT JOIN issue_events i ON i.key = f.key AND i.subject = f.subject AND i.place <= f.place, settings;

-- The events with which the core's signals may change.
CREATE VIEW core_events AS FROM subjects WHERE of_core OR event IN (SELECT event FROM found_effort);

INSERT INTO changes
SELECT counter, n, t, event, '', '' FROM (
    SELECT issue AS event, unnest([
        {'counter': 'EFFORT_TENTHS', 'n': tenths},
        {'counter': 'EFFORT_TENTHS_SQUARED', 'n': tenths * tenths},
        {'counter': 'ISSUES_EFFORT_MEDIUM', 'n': (tenths BETWEEN medium_tenths AND high_tenths)::BIGINT},
        {'counter': 'ISSUES_EFFORT_HIGH', 'n': (tenths > high_tenths)::BIGINT}
    ], recursive := true)
    FROM (
        SELECT issue, coalesce(sum(weight_tenths), 0)::BIGINT AS tenths
        FROM (SELECT DISTINCT issue FROM issue_events)
            LEFT JOIN (FROM signals UNION ALL FROM found_effort) USING (issue)
            LEFT JOIN weights USING (kind)
        GROUP BY issue
    ), settings
) JOIN events USING (event);
