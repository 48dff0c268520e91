-- Issues: contacts, switches, transfers, repetitions. Definitions: docs/reference/journeys.md (Issues).
-- In: events, kinds, named, instances, ping_pongs, settings, channel_groups, chapter_friction. Out: changes, signals, friction.

-- What an event's issue is called: by an id, else by that which an event of the same contact told less than `window` before, else by a
-- reason, again its own or that of the contact. An event of an issue tells it if it needs none other for that itself.
CREATE TABLE called AS
WITH own AS (
    SELECT event, key, place, t, contact_id, coalesce(of_issue, false) AS of_issue, nullif('reason ' || reason, 'reason ') AS by_reason,
        CASE WHEN issue_id <> '' THEN 'id ' || issue_id WHEN case_id <> '' THEN 'id ' || case_id END AS by_id
    FROM events LEFT JOIN kinds USING (event)
), by_ids AS (
    SELECT own.*, coalesce(own.by_id, CASE WHEN own.t - told.t < contact_window THEN told.by_id END) AS id_told
    FROM own ASOF LEFT JOIN (FROM own WHERE of_issue AND by_id IS NOT NULL AND contact_id <> '') told
        ON told.key = own.key AND told.contact_id = own.contact_id AND told.place < own.place, settings
)
SELECT by_ids.event,
    coalesce(by_ids.id_told, by_ids.by_reason, CASE WHEN by_ids.t - told.t < contact_window THEN told.by_reason END, 'reason ') AS subject
FROM by_ids ASOF LEFT JOIN (FROM by_ids WHERE of_issue AND id_told IS NULL AND by_reason IS NOT NULL AND contact_id <> '') told
    ON told.key = by_ids.key AND told.contact_id = by_ids.contact_id AND told.place < by_ids.place, settings;

-- What the effort of an event belongs to, by the scope.
CREATE TABLE subjects AS
SELECT event, key, place, t, events.reason, kinds.* EXCLUDE (event), kinds.event IS NOT NULL AS of_core,
    CASE scope
        WHEN 'customer' THEN ''
        WHEN 'journey' THEN coalesce((SELECT arg_min(
                'journey:' || journey || ':'
                    || coalesce(list_filter(told, lambda value: value IS NOT NULL)[1], journey_events.t::VARCHAR), journey_no)
            FROM named JOIN journey_events USING (key, journey_no) JOIN journeys USING (journey_no)
            WHERE named.event = events.event AND journey_events.n = named.named_before), '')
        ELSE called.subject
    END AS subject
FROM events JOIN called USING (event) LEFT JOIN kinds USING (event), settings;

-- An issue ends `window` after its last contact, search, reopening or transfer: where the gap reaches that, another begins.
CREATE TABLE issue_events AS
SELECT *, first_value(event) OVER issue AS issue, first_value(t) OVER issue AS issue_begun,
    -- The first reason that was told stays the issue's.
    coalesce(first_value(nullif(reason, '') IGNORE NULLS) OVER issue, '') AS issue_reason
FROM (
    SELECT *, sum(begins::INT) OVER (PARTITION BY key, subject ORDER BY place) AS issue_no
    FROM (
        SELECT subjects.*, coalesce(t - lag(t) OVER (PARTITION BY key, subject ORDER BY place) >= contact_window, true) AS begins
        FROM subjects, settings
        WHERE of_issue
    )
)
WINDOW issue AS (PARTITION BY key, subject, issue_no ORDER BY place);

INSERT INTO changes SELECT 'ISSUES', 1, t, event, '', '' FROM issue_events WHERE event = issue;

-- Resolutions come before anything else of the same event, and are remembered for the issue, if that is open, for the reason, and for an id.
CREATE TABLE resolutions AS
SELECT r.event, r.key, r.place, r.t, CASE WHEN starts_with(r.subject, 'id ') THEN r.subject END AS named,
    CASE WHEN i.t + contact_window > r.t THEN i.issue END AS issue,
    coalesce(nullif(r.reason, ''), CASE WHEN i.t + contact_window > r.t THEN i.issue_reason END, '') AS reason
FROM (SELECT * FROM subjects WHERE resolves) r
    ASOF LEFT JOIN issue_events i ON i.key = r.key AND i.subject = r.subject AND i.place < r.place, settings;

-- A contact, and whether it is a repetition: a reopening, or soon after a resolution of the same issue, id or reason.
CREATE TABLE contacts AS
SELECT c.event, c.issue, c.t,
    c.reopens OR coalesce(c.t - of_issue.t <= repeat_within, false) OR coalesce(c.t - of_id.t <= repeat_within, false)
        OR (coalesce(nullif(c.reason, ''), c.issue_reason) <> '' AND coalesce(c.t - of_reason.t <= repeat_within, false)) AS repeats
FROM (SELECT *, coalesce(nullif(reason, ''), issue_reason) AS told_reason FROM issue_events WHERE is_contact) c
    ASOF LEFT JOIN (SELECT * FROM resolutions WHERE issue IS NOT NULL) of_issue ON of_issue.issue = c.issue AND of_issue.place <= c.place
    ASOF LEFT JOIN (SELECT * FROM resolutions WHERE named IS NOT NULL) of_id
        ON of_id.key = c.key AND of_id.named = c.subject AND of_id.place <= c.place
    ASOF LEFT JOIN resolutions of_reason ON of_reason.key = c.key AND of_reason.reason = c.told_reason AND of_reason.place <= c.place,
    settings;

INSERT INTO changes SELECT 'CONTACTS', 1, t, event, '', '' FROM contacts;
INSERT INTO changes SELECT 'REPEAT_CONTACTS', 1, t, event, '', '' FROM contacts WHERE repeats;

-- A switch: another channel group than the issue's previous event of the kind.
CREATE TABLE switches AS
SELECT *, row_number() OVER (PARTITION BY issue ORDER BY place) AS nth
FROM (
    SELECT *, lag(channel_group) OVER (PARTITION BY issue ORDER BY place) AS group_before
    FROM (
        SELECT i.event, i.key, i.place, i.t, issue, issue_begun, coalesce(channel_groups.grp, channel) AS channel_group
        FROM issue_events i JOIN events USING (event) LEFT JOIN channel_groups USING (channel)
        WHERE switches
    )
)
WHERE channel_group <> group_before;

INSERT INTO changes
SELECT 'CHANNEL_SWITCHES', 1, t, event, '', '' FROM switches
UNION ALL
SELECT 'WEB_TO_PHONE', 1, t, event, '', '' FROM switches WHERE group_before = 'self_service' AND channel_group = 'phone'
UNION ALL
SELECT 'ISSUES_SWITCHED', 1, issue_begun, issue, '', '' FROM switches WHERE nth = 1;

-- A transfer belongs to the issue's latest contact; if there was none, it stands for one.
CREATE TABLE transfers AS
SELECT *, first_value(event) OVER contact AS contact, first_value(t) OVER contact AS contact_begun
FROM (
    SELECT *, sum(marks::INT) OVER (PARTITION BY issue ORDER BY place) AS contact_no
    FROM (
        SELECT i.event, i.place, i.t, issue, is_contact, transfers,
            handoff_kind = 'cold' OR (handoff_kind <> 'warm' AND context_passed IS NOT DISTINCT FROM false) AS cold,
            is_contact OR (transfers AND count(*) FILTER (is_contact OR transfers)
                OVER (PARTITION BY issue ORDER BY i.place ROWS UNBOUNDED PRECEDING) = 1) AS marks
        FROM issue_events i JOIN events USING (event)
        WHERE is_contact OR transfers
    )
)
WINDOW contact AS (PARTITION BY issue, contact_no ORDER BY place);

INSERT INTO changes
SELECT 'CONTACTS', 1, t, event, '', '' FROM transfers WHERE marks AND NOT is_contact
UNION ALL
SELECT DISTINCT 'CONTACTS_TRANSFERRED', 1, contact_begun, contact, '', '' FROM transfers WHERE transfers
UNION ALL
SELECT 'TRANSFERS', 1, t, event, '', '' FROM transfers WHERE transfers
UNION ALL
SELECT 'COLD_TRANSFERS', 1, t, event, '', '' FROM transfers WHERE transfers AND cold;

-- Every effort signal, with the issue whose effort index it adds to. A ping-pong's issue may be closed, or never have been.
CREATE TABLE signals AS
SELECT event, issue, 'repeat' AS kind FROM contacts WHERE repeats
UNION ALL
SELECT event, issue, 'switch' FROM switches
UNION ALL
SELECT event, issue, CASE WHEN cold THEN 'cold' ELSE 'warm' END FROM transfers WHERE transfers
UNION ALL
SELECT p.event, CASE WHEN i.t + contact_window > s.t THEN i.issue END, 'ping_pong'
FROM ping_pongs p JOIN subjects s USING (event)
    ASOF LEFT JOIN issue_events i ON i.key = s.key AND i.subject = s.subject AND i.place <= s.place, settings;

-- Every event that is a friction signal, those included that chapters have found by the time somebody asks.
CREATE VIEW friction AS
SELECT event FROM events WHERE type IN ('payment.failed', 'form.error', 'friction.signal')
UNION
SELECT event FROM signals
UNION
FROM chapter_friction;
