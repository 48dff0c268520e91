-- Digital: signals of frustration in sessions. Definitions: docs/reference/chapters/digital.md.
-- In: events, kinds, chapter_settings. Out: chapter_changes, chapter_friction, chapter_effort, facts.

CREATE TABLE digital_settings AS
SELECT setting('digital', 'session_gap')::BIGINT AS session_gap, setting('digital', 'step_returns')::BIGINT AS step_returns,
    setting('digital', 'help_within')::BIGINT AS help_within, from_json(setting('digital', 'activity'), '["VARCHAR"]') AS activity,
    from_json(setting('digital', 'help_pages'), '["VARCHAR"]') AS help_pages,
    from_json(setting('digital', 'ignore_elements'), '["VARCHAR"]') AS ignore_elements,
    from_json(setting('digital', 'ignore_kinds'), '["VARCHAR"]') AS ignore_kinds;

-- The events of sessions, of which searches by staff are none. A session ends after a pause.
CREATE TABLE session_events AS
SELECT *, first_value(event) OVER session AS begun_by, first_value(t) OVER session AS begun
FROM (
    SELECT *, sum(begins::INT) OVER (PARTITION BY key, session_id ORDER BY place) AS session_no
    FROM (
        SELECT *, coalesce(t - lag(t) OVER (PARTITION BY key, session_id ORDER BY place) >= session_gap, true) AS begins
        FROM (
            SELECT event, key, t, place, type, journey, step, reason, ids['session'] AS session_id, session_gap,
                id(details ->> '$.friction.element_id') AS element, dimension(details ->> '$.friction.kind') AS kind,
                dimension(details ->> '$.friction.code') AS code, dimension(details ->> '$.friction.field') AS field,
                dimension(details ->> '$.touchpoint') AS page, try_cast(details ->> '$.search.results' AS HUGEINT) AS results,
                len(list_filter(ignore_elements, lambda word: contains(element, word))) > 0 AS is_ignored,
                type = 'knowledge.searched' OR (type IN ('page.viewed', 'screen.viewed')
                    AND len(list_filter(help_pages, lambda beginning: starts_with(page, beginning))) > 0) AS is_help
            FROM events, digital_settings
            WHERE NOT (type = 'knowledge.searched' AND initiator IN ('company', 'system'))
                AND (type IN ('page.viewed', 'screen.viewed', 'ui.clicked', 'ui.error', 'form.error', 'friction.signal', 'knowledge.searched',
                              'checkout.step_viewed', 'journey.step_entered')
                    OR len(list_filter(activity, lambda pattern: matches(type, pattern))) > 0)
        )
    )
)
WINDOW session AS (PARTITION BY key, session_id, session_no ORDER BY place);

INSERT INTO chapter_changes SELECT 'DIGITAL_SESSIONS', 1, t, event, NULL FROM session_events WHERE event = begun_by;

-- What comes again and again: a burst goes on while the next one comes within the span, and counts when so many of it lie within it.
CREATE TABLE bursts AS
WITH repeatable AS (
    SELECT event, key, t, place, begun_by, name, what, times, within
    FROM (
        SELECT event, key, t, place, begun_by, unnest(CASE
                WHEN type = 'ui.clicked' AND NOT is_ignored THEN {'name': 'rage_click', 'what': element}
                WHEN type = 'ui.error' THEN {'name': 'error_loop', 'what': code}
                WHEN type = 'form.error' THEN {'name': 'field_trouble', 'what': field}
                WHEN type IN ('page.viewed', 'screen.viewed') THEN {'name': 'page_loop', 'what': page} END)
        FROM session_events
    ) JOIN (
        SELECT name, setting('digital', of_times)::BIGINT AS times, setting('digital', of_within)::BIGINT AS within
        FROM (VALUES ('rage_click', 'rage_clicks', 'rage_within'), ('error_loop', 'loop_errors', 'error_within'),
                     ('page_loop', 'loop_pages', 'page_within'), ('field_trouble', 'field_errors', 'field_within')) kinds (name, of_times, of_within)
    ) USING (name)
    WHERE what <> ''
)
SELECT name, min_by(event, place) AS event
FROM (
    SELECT *, row_number() OVER (PARTITION BY begun_by, name, what, burst ORDER BY place) AS nth,
        t - lag(t, (times - 1)::INT) OVER (PARTITION BY begun_by, name, what, burst ORDER BY place) AS spanned
    FROM (
        SELECT *, sum((pause > within)::INT) OVER (PARTITION BY begun_by, name, what ORDER BY place) AS burst
        FROM (SELECT *, coalesce(t - lag(t) OVER (PARTITION BY begun_by, name, what ORDER BY place), 0) AS pause FROM repeatable)
    )
)
WHERE nth >= times AND spanned <= within
GROUP BY begun_by, name, what, burst;

-- Steps to and fro: so many returns in a row to the step before the last.
CREATE TABLE ping_pong_steps AS
SELECT event
FROM (
    SELECT *, sum(returns::INT) OVER (PARTITION BY begun_by, stretch ORDER BY place ROWS UNBOUNDED PRECEDING) AS in_a_row
    FROM (
        SELECT *, sum((NOT returns)::INT) OVER (PARTITION BY begun_by ORDER BY place) AS stretch
        FROM (
            SELECT *, coalesce(lag(position, 2) OVER (PARTITION BY begun_by ORDER BY place) = position, false) AS returns
            FROM (
                SELECT *, lag(position) OVER (PARTITION BY begun_by ORDER BY place) AS last_position
                FROM (SELECT *, {'journey': journey, 'step': step} AS position FROM session_events
                      WHERE type IN ('checkout.step_viewed', 'journey.step_entered') AND step <> '')
            )
            WHERE last_position IS DISTINCT FROM position
        )
    )
), digital_settings
WHERE returns AND in_a_row = step_returns;

-- Help, and then a contact on its topic while the session is open: the first contact that the help may have been about.
CREATE TABLE helpless_contacts AS
SELECT DISTINCT begun_by, contact
FROM (
    SELECT h.event, h.begun_by, h.t, min_by(c.event, c.place) AS contact, min(c.place) AS contact_place, min_by(c.t, c.place) AS contact_t
    FROM session_events h JOIN events c ON c.key = h.key AND c.place > h.place AND (c.reason = h.reason OR c.reason = '' OR h.reason = '')
        JOIN kinds ON kinds.event = c.event AND kinds.starts
    WHERE is_help
    GROUP BY ALL
) h, digital_settings
WHERE contact_t - h.t < help_within
    AND contact_t - (SELECT max(s.t) FROM session_events s WHERE s.begun_by = h.begun_by AND s.place < contact_place) < session_gap;

CREATE TABLE digital_signals AS
SELECT name, event, begun_by
FROM (
    SELECT name, event, begun_by, true AS seen FROM bursts JOIN session_events USING (event)
    UNION ALL
    SELECT 'step_ping_pong', event, begun_by, true FROM ping_pong_steps JOIN session_events USING (event)
    UNION ALL
    SELECT 'no_results', event, begun_by, true FROM session_events WHERE type = 'knowledge.searched' AND results = 0
    UNION ALL
    SELECT 'help_then_contact', contact, begun_by, true FROM helpless_contacts
    UNION ALL
    SELECT kind, event, begun_by, false FROM session_events WHERE type = 'friction.signal' AND kind <> '' AND NOT is_ignored
), digital_settings
WHERE NOT list_contains(ignore_kinds, name);

INSERT INTO chapter_changes SELECT 'DIGITAL_SIGNALS', 1, t, event, MAP {'cause': name} FROM digital_signals JOIN events USING (event);

INSERT INTO chapter_changes
SELECT DISTINCT counter, 1, begun, s.begun_by, NULL::MAP(VARCHAR, VARCHAR)
FROM digital_signals s JOIN session_events ON session_events.event = s.begun_by,
    unnest(['SESSIONS_' || upper(name), 'SESSIONS_CONFUSED']) counters (counter)
WHERE (counter = 'SESSIONS_CONFUSED' AND name IN ('page_loop', 'step_ping_pong', 'field_trouble', 'no_results', 'help_then_contact'))
    OR (counter <> 'SESSIONS_CONFUSED' AND name IN ('rage_click', 'error_loop', 'page_loop', 'step_ping_pong', 'field_trouble'));

-- What is seen in raw events is friction of the journey; the clients' own signals are, whatever they are.
INSERT INTO chapter_friction
SELECT event FROM digital_signals JOIN events USING (event)
WHERE name IN ('rage_click', 'error_loop', 'page_loop', 'step_ping_pong') AND type <> 'friction.signal';

INSERT INTO chapter_effort SELECT event, 'error_loop' FROM digital_signals WHERE name = 'error_loop';

-- Every signal counts until its session is over.
INSERT INTO facts
SELECT key, fact, 1, at_event(t, place), at_deadline(ended)
FROM (
    SELECT name AS fact, event, begun_by FROM digital_signals WHERE name IN ('rage_click', 'error_loop', 'page_loop', 'step_ping_pong')
    UNION ALL
    SELECT 'digital signal', event, begun_by FROM digital_signals
    UNION ALL
    SELECT 'confusion', event, begun_by FROM digital_signals
    WHERE name IN ('page_loop', 'step_ping_pong', 'field_trouble', 'no_results', 'help_then_contact')
) JOIN events USING (event) JOIN (SELECT begun_by, max(t + session_gap) AS ended FROM session_events GROUP BY begun_by) USING (begun_by);
