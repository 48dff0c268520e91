-- Service: information asked for again, generic service, when contacts are answered and resolved, how long they wait in queues.
-- Definitions: docs/reference/chapters/service.md.
-- In: events, kinds, ends, settings, chapter_settings, metric_parts. Out: chapter_changes, undecided_chapter_changes, chapter_friction,
-- chapter_effort, facts.

-- What an event is. Those that are nothing of this are not looked at.
CREATE TABLE service_events AS
SELECT e.*, template_within, response_within, resolution_within,
    coalesce(first_value(name) OVER (PARTITION BY e.key, stretch ORDER BY place), '') AS subject
FROM (
    SELECT *, sum((name IS NOT NULL OR coalesce(t - last_t >= contact_window, true))::INT) OVER (PARTITION BY key ORDER BY place) AS stretch
    FROM (
        SELECT *, lag(t) OVER (PARTITION BY key ORDER BY place) AS last_t
        FROM (
            SELECT e.event, key, part, t, place, contact_window, e.reason,
                CASE WHEN issue_id <> '' THEN 'i:' || issue_id WHEN case_id <> '' THEN 'i:' || case_id
                     WHEN e.reason <> '' THEN 'r:' || e.reason END AS name,
                coalesce(is_contact, false) AS contact,
                (coalesce(transfers, false) OR list_contains(list_transform(handed_over, lambda p: matches(type, p)), true))
                    AND NOT routed(channel, from_team, routing) AS moves,
                moves AND (handoff_kind = 'cold' OR (handoff_kind <> 'warm' AND context_passed IS NOT DISTINCT FROM false)) AS cold,
                coalesce(ends, false) AS ends, coalesce(resolves, false) AS resolves,
                NOT contact AND list_contains(list_transform(responded, lambda p: matches(type, p)), true) AND initiator <> 'system'
                    AND details ->> '$.message.human' IS DISTINCT FROM 'false' AS answers,
                CASE WHEN type = 'info.captured' THEN dimension(details ->> '$.info.field') ELSE '' END AS captured,
                type = 'auth.verified' AS verifies, type = 'contact.handled' AS handles,
                coalesce(try_cast(details ->> '$.handling.bot_fallbacks' AS HUGEINT), 0) AS fallbacks,
                handles AND (fallbacks >= 1
                             OR details ->> '$.handling.profile_viewed' IS NOT DISTINCT FROM 'false'
                             OR dimension(details ->> '$.handling.tag') = 'generic') AS generic,
                handles AND id(details ->> '$.handling.template_id') <> '' AS templated
            FROM events e LEFT JOIN kinds USING (event), settings, (
                SELECT from_json(setting('service', 'handed_over'), '["VARCHAR"]') AS handed_over,
                    from_json(setting('service', 'responded'), '["VARCHAR"]') AS responded
            )
        )
        WHERE contact OR moves OR ends OR answers OR captured <> '' OR verifies OR handles
    )
) e, (
    SELECT setting('service', 'template_within')::BIGINT AS template_within, setting('service', 'response_within')::BIGINT AS response_within,
        setting('service', 'resolution_within')::BIGINT AS resolution_within
);

-- An issue ends after a pause; within it, `contact_no` is the contact an event is in (0: before the first).
CREATE TABLE service_issues AS
SELECT *, sum(contact::INT) OVER so_far AS contact_no, sum(moves::INT) OVER so_far AS moves_so_far,
    last_value(nullif(reason, '') IGNORE NULLS) OVER so_far AS told_reason,
    row_number() OVER (PARTITION BY key, subject, issue_no, captured ORDER BY place) AS nth_capture
FROM (
    SELECT s.*, sum(coalesce(t - before >= contact_window, true)::INT) OVER (PARTITION BY key, subject ORDER BY place) AS issue_no
    FROM (SELECT *, lag(t) OVER (PARTITION BY key, subject ORDER BY place) AS before FROM service_events) s
)
WINDOW so_far AS (PARTITION BY key, subject, issue_no ORDER BY place ROWS UNBOUNDED PRECEDING);

-- Asked again: a field, an identity check by other people than the last, or everything because nothing was passed on.
CREATE TABLE asked_again AS
SELECT event, key, subject, issue_no, contact_no, false AS cold FROM service_issues WHERE captured <> '' AND nth_capture > 1
UNION ALL
SELECT event, key, subject, issue_no, contact_no, false
FROM (
    SELECT *, lag(moves_so_far) OVER (PARTITION BY key, subject, issue_no ORDER BY place) AS moves_at_last_check
    FROM service_issues WHERE verifies
)
WHERE moves_so_far > moves_at_last_check
UNION ALL
SELECT event, key, subject, issue_no, contact_no, true FROM service_issues WHERE cold;

CREATE TABLE service_contacts AS
SELECT c.*, contact_no > 1 OR EXISTS (
        FROM service_issues m
        WHERE m.key = c.key AND m.subject = c.subject AND m.issue_no = c.issue_no AND m.contact_no <= c.contact_no AND m.moves) AS informed,
    EXISTS (FROM asked_again a
            WHERE a.key = c.key AND a.subject = c.subject AND a.issue_no = c.issue_no AND a.contact_no = c.contact_no) AS repeating
FROM service_issues c
WHERE contact;

INSERT INTO chapter_changes
SELECT 'CONTACTS_INFORMED', 1, t, event, NULL FROM service_contacts WHERE informed
UNION ALL
SELECT 'CONTACTS_REPEATING', 1, t, event, NULL FROM service_contacts WHERE informed AND repeating;

-- Handled: generic at once, or because a template was followed by another contact of the issue.
CREATE TABLE handlings AS
SELECT h.event, h.t, generic, NOT generic AND templated AND coalesce(c.t - h.t <= template_within, false) AS unhelpful, c.event AS next_contact
FROM (FROM service_issues WHERE handles) h
    ASOF LEFT JOIN (SELECT key, subject, issue_no, place, t, event FROM service_contacts) c
        ON c.key = h.key AND c.subject = h.subject AND c.issue_no = h.issue_no AND c.place > h.place;

INSERT INTO chapter_changes
SELECT 'CONTACTS_HANDLED', 1, t, event, NULL FROM handlings
UNION ALL
SELECT 'CONTACTS_GENERIC', 1, t, event, NULL FROM handlings WHERE generic OR unhelpful;

INSERT INTO chapter_friction
SELECT event FROM asked_again WHERE NOT cold
UNION ALL
SELECT event FROM handlings WHERE generic
UNION ALL
SELECT next_contact FROM handlings WHERE unhelpful;

INSERT INTO chapter_effort
SELECT event, 'repeated_field' FROM asked_again WHERE NOT cold
UNION ALL
SELECT event, 'generic' FROM handlings WHERE generic
UNION ALL
SELECT next_contact, 'generic' FROM handlings WHERE unhelpful;

-- In time: the first answer, or resolution, of the same subject comes before the deadline; else the contact counts when it has passed.
-- The time until it counts in any case, of one that comes later only if it is still of the same issue.
CREATE TABLE service_waits AS
SELECT due_counter, in_time_counter, histogram, c.t, c.event, c.part, coalesce(s.t < c.t + within, false) AS in_time, c.t + within AS due,
    s.t AS served, in_time OR coalesce(s.issue_no = c.issue_no, false) AS timed
FROM (SELECT *, unnest([
          {'kind': 'answer', 'due_counter': 'CONTACTS_RESPONSE_DUE', 'in_time_counter': 'CONTACTS_ANSWERED_IN_TIME', 'within': response_within,
           'histogram': 'first_response_median'},
          {'kind': 'resolution', 'due_counter': 'CONTACTS_RESOLUTION_DUE', 'in_time_counter': 'CONTACTS_RESOLVED_IN_TIME',
           'within': resolution_within, 'histogram': 'resolution_median'}], recursive := true)
      FROM service_contacts) c
    ASOF LEFT JOIN (SELECT key, subject, issue_no, place, t, unnest(list_filter(
            ['answer', 'resolution'], lambda kind: CASE kind WHEN 'answer' THEN answers ELSE resolves END)) AS kind
        FROM service_issues) s
        ON s.key = c.key AND s.subject = c.subject AND s.kind = c.kind AND s.place > c.place;

INSERT INTO chapter_changes
SELECT unnest([due_counter, in_time_counter]), 1, served, event, NULL FROM service_waits WHERE in_time
UNION ALL
SELECT counter, 1, served, event, NULL
FROM service_waits JOIN metric_parts ON metric = histogram
    AND served - t <= coalesce(upper_edge * 1000, served - t) AND (served - t > lower_edge * 1000 OR bucket = 0)
WHERE timed
UNION ALL
SELECT due_counter, 1, due, event, NULL FROM service_waits JOIN ends USING (part), settings WHERE NOT in_time AND due <= ends.clock AND due < decided + 1000;

INSERT INTO undecided_chapter_changes
SELECT due_counter, 1, due, event, NULL FROM service_waits JOIN ends USING (part), settings WHERE NOT in_time AND due <= ends.clock AND due >= decided + 1000;

-- First contact resolution. What ends again, in time and before the customer has come back about it, is the same once more; it is resolved
-- if one of its ends says so, or does not deny it.
CREATE TABLE ended_things AS
SELECT event, key, part, place, t, repeat_within AS within, subject, told_reason, resolves FROM service_issues, settings WHERE ends AND subject <> '';

CREATE TABLE first_contacts AS
SELECT any_value(part) AS part, min_by(event, place) AS event, min(t) AS t, max(t) + any_value(within) AS over,
    bool_or(fails) OR NOT bool_or(resolves) AS failed
FROM (
    SELECT *, sum((NOT coalesce(before_goes_on, false))::INT) OVER (PARTITION BY key, subject ORDER BY place) AS nth
    FROM (
        SELECT *, lag(NOT fails AND next_t <= t + within) OVER (PARTITION BY key, subject ORDER BY place) AS before_goes_on
        FROM (
            -- An event that ends it again and comes back about it first ends it.
            SELECT *, coalesce(came < coalesce(next_place, came + 1), false) AS fails
            FROM (
                SELECT r.*, lead(place) OVER same AS next_place, lead(t) OVER same AS next_t,
                    (SELECT min(c.place) FROM service_issues c WHERE c.contact AND c.key = r.key AND c.place >= r.place
                        AND c.t <= r.t + r.within AND (c.subject = r.subject OR c.told_reason = r.told_reason)) AS came
                FROM ended_things r
                WINDOW same AS (PARTITION BY key, subject ORDER BY place)
            )
        )
    )
)
GROUP BY key, subject, nth;

INSERT INTO chapter_changes
SELECT unnest(CASE WHEN failed THEN ['RESOLUTIONS'] ELSE ['RESOLUTIONS', 'RESOLUTIONS_STANDING'] END), 1, t, event, NULL FROM first_contacts
UNION ALL
SELECT unnest(CASE WHEN failed THEN ['FIRST_CONTACTS_DUE'] ELSE ['FIRST_CONTACTS_DUE', 'FIRST_CONTACTS_RESOLVED'] END), 1, over, event, NULL
FROM first_contacts JOIN ends USING (part), settings WHERE over < ends.clock AND over + 1 < decided + 1000;

INSERT INTO undecided_chapter_changes
SELECT unnest(CASE WHEN failed THEN ['FIRST_CONTACTS_DUE'] ELSE ['FIRST_CONTACTS_DUE', 'FIRST_CONTACTS_RESOLVED'] END), 1, over, event, NULL
FROM first_contacts JOIN ends USING (part), settings WHERE over < ends.clock AND over + 1 >= decided + 1000;

-- How long it was in a queue: of every event that tells it.
INSERT INTO chapter_changes
SELECT counter, 1, t, event, NULL
FROM (SELECT event, t, fixed(details ->> '$.handling.wait_seconds', 3) AS wait FROM events WHERE type IN ('contact.handled', 'contact.ended'))
    JOIN metric_parts ON metric = 'queue_wait_median' AND wait <= coalesce(upper_edge * 1000, wait) AND (wait > lower_edge * 1000 OR bucket = 0);

-- Of an issue while it is open.
INSERT INTO facts
SELECT key, fact, amount, at_event(t, place), at_deadline(ended)
FROM (
    SELECT *, max(t) OVER (PARTITION BY key, subject, issue_no) + contact_window AS ended FROM service_issues
) e JOIN (
    SELECT event, 'field captured' AS fact, nth_capture AS amount FROM service_issues WHERE captured <> ''
    UNION ALL
    SELECT event, 'asked again', 1 FROM asked_again
    UNION ALL
    SELECT event, 'bot fallbacks', fallbacks FROM service_issues WHERE handles AND fallbacks > 0
) USING (event);
