-- The signals of issues, customers and journey instances, at every moment at which they may have changed: what entity rules look at.
-- Definitions: docs/reference/journeys.md (Entity alerts).
-- In:  everything before. Out: issue_moments, customer_moments, journey_moments; issue_lives, customer_lives, journey_lives.

-- What happened to issues, one row per thing and event.
CREATE TABLE effort AS
SELECT event, key, place, t, issue, kind, coalesce(weight_tenths, 0) AS tenths
FROM (
    SELECT event, issue, kind FROM signals
    UNION ALL
    SELECT event, issue, 'contact' FROM contacts
    UNION ALL
    SELECT event, issue, 'contact' FROM transfers WHERE marks AND NOT is_contact
    UNION ALL
    SELECT event, issue, kind FROM found_effort
) JOIN events USING (event) LEFT JOIN weights USING (kind);

-- Switches of an issue that lie within `switch_within` and reach `switch_burst`: of those that share a switch the first one counts, and
-- the next switch begins anew.
CREATE TABLE switch_bursts AS
WITH RECURSIVE reached AS (
    SELECT issue, last.nth - switch_burst + 1 AS first, last.nth AS last
    FROM switches last JOIN switches first USING (issue), settings
    WHERE switch_burst > 0 AND first.nth = last.nth - switch_burst + 1 AND first.t > last.t - switch_within
), ended AS (
    SELECT DISTINCT issue, 0::BIGINT AS last FROM switches
    UNION ALL
    SELECT issue, min(reached.last) FROM ended JOIN reached USING (issue) WHERE reached.first > ended.last GROUP BY issue
)
FROM ended;

-- At each switch how many there are of the burst that is going on; it stays so until the issue's next switch.
CREATE TABLE recent_switches AS
SELECT now.issue, now.place, count(*) AS recent
FROM switches now
    ASOF JOIN switch_bursts ended ON ended.issue = now.issue AND ended.last < now.nth
    JOIN switches before ON before.issue = now.issue AND before.nth <= now.nth AND before.nth > ended.last, settings
WHERE switch_burst > 0 AND before.t > now.t - switch_within
GROUP BY ALL;

-- From a refusal of analytics until a consent no personal alert fires. One that is told late counts from the clock on, unless what is known
-- by then was said after it; it comes after the events of its moment that came before it.
CREATE TABLE consents AS
SELECT key, off, t AS happened, analytics, t, place::DOUBLE AS place FROM events WHERE analytics IS NOT NULL
UNION ALL
SELECT key, off, t, analytics, clock,
    0.5 + (SELECT count(*) FROM events WHERE events.key = late.key AND (events.t, events.off) < (late.clock, late.off))
FROM late_events late WHERE analytics IS NOT NULL;

CREATE MACRO refuses(who, moment, until) AS coalesce((
    SELECT arg_max(NOT analytics, (happened, off)) FROM consents
    WHERE consents.key = who AND (consents.place <= until OR consents.t < moment)
), false);

-- An issue after each of its events (and each ping-pong that adds to it), until the next; ends: when it does, if nothing comes.
CREATE TABLE issue_moments AS
WITH touched AS (
    SELECT issue, place, max(moves_end) AS moved, any_value(t) AS t, list(DISTINCT event)[1] AS event,
        coalesce(sum(tenths), 0) AS tenths, count(*) FILTER (kind = 'contact') AS contacts, count(*) FILTER (kind = 'switch') AS switches,
        count(*) FILTER (kind = 'repeat') AS repeats, count(*) FILTER (kind IN ('cold', 'warm')) AS transfers,
        count(*) FILTER (kind = 'cold') AS cold,
        count(*) FILTER (kind <> 'contact') > 0 AS has_effort
    FROM (
        SELECT issue, place, t, event, kind, tenths, NULL AS moves_end FROM effort WHERE issue IS NOT NULL
        UNION ALL
        SELECT issue, place, t, event, NULL, 0, t FROM issue_events
    )
    GROUP BY issue, place
)
SELECT now.key, touched.issue, now.t, touched.place,
    coalesce(lead(touched.place) OVER life, 9223372036854775807) AS next_place,
    max(moved) OVER so_far + contact_window AS ends,
    has_effort, sum(touched.contacts) OVER so_far AS contacts, sum(switches) OVER so_far AS channel_switches,
    coalesce(last_value(recent IGNORE NULLS) OVER so_far, 0) AS recent_switches,
    sum(repeats) OVER so_far AS repeat_contacts,
    sum(touched.transfers) OVER so_far AS transfers, sum(cold) OVER so_far AS cold_transfers, sum(tenths) OVER so_far AS effort_tenths,
    sum(tenths) OVER so_far / 10.0::DOUBLE AS effort_index,
    coalesce(last_value(nullif(CASE WHEN moved IS NOT NULL THEN now.severity END, '') IGNORE NULLS) OVER so_far, '') AS severity,
    coalesce(first_value(nullif(CASE WHEN moved IS NOT NULL THEN now.reason END, '') IGNORE NULLS) OVER so_far, '') AS reason,
    begun.channel, begun.platform, begun.segment, begun.region,
    refuses(now.key, now.t, touched.place) AS refused,
    CASE WHEN scope = 'issue' THEN coalesce(nullif(begun.issue_id, ''), nullif(begun.case_id, ''), begun.reason)
         WHEN scope = 'customer' THEN ''
         ELSE (SELECT any_value(subject) FROM subjects WHERE subjects.event = touched.issue) END AS name
FROM touched JOIN events now ON now.event = touched.event JOIN events begun ON begun.event = touched.issue
    LEFT JOIN recent_switches ON recent_switches.issue = touched.issue AND recent_switches.place = touched.place, settings
WINDOW life AS (PARTITION BY touched.issue ORDER BY touched.place),
    so_far AS (PARTITION BY touched.issue ORDER BY touched.place ROWS UNBOUNDED PRECEDING);

-- A case after each event with an owner, until the next.
CREATE TABLE case_moments AS
SELECT owned.key, owned."case", case_no, owned.place, owned.t + retention AS ends,
    coalesce(lead(owned.place) OVER life, 9223372036854775807) AS next_place,
    sum((nth > 1)::INT) OVER so_far AS handoffs, sum(bounced::INT) OVER so_far AS ping_pongs
FROM owned LEFT JOIN (SELECT event, nth, coalesce(bounced, false) AS bounced FROM owners) USING (event), settings
WINDOW life AS (PARTITION BY owned.key, owned."case", case_no ORDER BY owned.place),
    so_far AS (PARTITION BY owned.key, owned."case", case_no ORDER BY owned.place ROWS UNBOUNDED PRECEDING);

-- The moments of a customer: events, and deadlines, where all events before have been applied and none at that time. Deadlines of one
-- time fall due in this order (phase): 0 abandonments, 2 repetitions that leave their window, 4 issues and cases that end, and what
-- chapters know; then 5 events, 6 what an event makes overdue at once.
-- looked_at: the rules on the customer are evaluated.
-- Of whom a chapter has seen nothing, nothing is looked at that names its signals.
CREATE TABLE first_looks AS
SELECT key, part, min(place) AS place
FROM (
    SELECT key, looks.part, place FROM events JOIN looks ON matches(type, pattern)
    UNION ALL
    SELECT key, 'core', place FROM core_events
    UNION ALL
    SELECT key, 'steps', place FROM events WHERE type = 'identity.linked' OR event IN (SELECT event FROM roles)
)
GROUP BY key, part;

CREATE TABLE moments AS
WITH deadlines AS (
    SELECT key, t + repeat_within + 1 AS t, 2 AS phase, true AS looked_at FROM effort, settings WHERE kind = 'repeat'
    UNION
    SELECT key, ends, 4, true FROM issue_moments
    UNION
    SELECT key, ends, 4, true FROM case_moments
    UNION
    SELECT key, changes.t, 4, true FROM (SELECT key, unnest([since, until]) AS changes FROM facts) WHERE changes.phase < 5
    UNION
    SELECT key, before + deadline, 0, false FROM lives WHERE abandoned
    UNION
    SELECT key, t + deadline, 0, false FROM lives WHERE is_last AND role IN ('start', 'activity')
)
SELECT key, t, place, phase, bool_or(looked_at) AS looked_at
FROM (
    SELECT key, t, place, 5 AS phase, true AS looked_at FROM core_events
    UNION ALL
    SELECT key, t, place, 5, false FROM events WHERE event IN (SELECT event FROM named UNION SELECT event FROM lives)
    UNION ALL
    SELECT key, t, place, 5, true FROM events SEMI JOIN facts USING (key)
    UNION ALL
    SELECT key, t, place, 5, true FROM events SEMI JOIN first_looks USING (key, place)
    UNION ALL
    SELECT key, since.t, since.place // 2, 6, true FROM facts WHERE since = after_event(since.t, since.place // 2)
    UNION ALL
    SELECT d.key, d.t, e.place, phase, looked_at
    FROM deadlines d
        ASOF JOIN (SELECT key, t, max(place) AS place FROM events GROUP BY key, t) e ON e.key = d.key AND e.t < d.t, settings
    WHERE d.t <= clock
)
GROUP BY key, t, place, phase;

-- The signals of chapters at each of them: docs/reference/chapters.
CREATE TABLE chapter_moments AS
SELECT m.key, m.t, m.place, m.phase,
    count(*) FILTER (fact = 'contract undecided') AS contracts_undecided,
    count(*) FILTER (fact = 'contract due soon') AS contracts_due_soon,
    min(amount) FILTER (fact = 'nps') AS nps_lowest, min(amount) FILTER (fact = 'csat') AS csat_lowest,
    min(amount) FILTER (fact = 'ces 2.0') AS ces_lowest, max(amount) FILTER (fact = 'ces 1.0') AS ces1_highest,
    max(amount) FILTER (fact = 'field captured') AS captures_of_field, count(*) FILTER (fact = 'asked again') AS info_repeats,
    max(amount) FILTER (fact = 'bot fallbacks') AS bot_fallbacks,
    count(*) FILTER (fact = 'digital signal') AS digital_signals, count(*) FILTER (fact = 'rage_click') AS rage_clicks,
    count(*) FILTER (fact = 'error_loop') AS error_loops, count(*) FILTER (fact = 'page_loop') AS page_loops,
    count(*) FILTER (fact = 'step_ping_pong') AS step_ping_pongs, count(*) FILTER (fact = 'confusion') AS confusions,
    count(*) FILTER (fact = 'stalled') AS stalled,
    count(*) FILTER (fact = 'handoff waiting') AS handoffs_waiting, count(*) FILTER (fact = 'handoff failed') AS handoffs_failed,
    count(*) FILTER (fact = 'case silent') AS silent_cases, count(*) FILTER (fact = 'case unowned') AS unowned_cases,
    count(*) FILTER (fact = 'case overdue') AS overdue_cases,
    max(amount) FILTER (fact = 'cause met') AS repeated_cause,
    count(*) FILTER (fact = 'order') AS orders,
    sum(amount) FILTER (fact = 'revenue') / 100 * setting('commerce', 'margin_share')::DOUBLE AS lifetime_value,
    count(*) FILTER (fact = 'slipping') > 0 AS slipping,
    max(amount) FILTER (fact = 'product views') AS product_views,
    coalesce(any_value(amount) FILTER (fact = 'share declared'), any_value(amount) FILTER (fact = 'share ranked')) AS share_of_wallet,
    count(*) FILTER (fact = 'shipment overdue') AS overdue_shipments, count(*) FILTER (fact = 'contact overdue') > 0 AS contact_overdue,
    sum(amount) FILTER (fact = 'preference weighted') / sum(amount) FILTER (fact = 'preference weight') / 1000 AS sacrifice_index,
    count(*) FILTER (fact = 'preference weight') AS preferences_stated,
    histogram(fact) FILTER (starts_with(fact, 'pattern ')) AS patterns
FROM (SELECT *, CASE phase WHEN 5 THEN at_event(t, place) WHEN 6 THEN after_event(t, place) ELSE at_phase(t, phase, 0) END AS moment FROM moments) m
    JOIN facts ON facts.key = m.key AND since <= moment AND coalesce(moment < until, true)
GROUP BY ALL;

CREATE TABLE customer_moments AS
SELECT m.key, m.t, m.place, m.phase, m.looked_at, first_looks,
    coalesce(issues.contacts, 0) AS contacts, coalesce(issues.channel_switches, 0) AS channel_switches,
    coalesce(issues.recent_switches, 0) AS recent_switches,
    coalesce(issues.transfers, 0) AS transfers, coalesce(issues.cold_transfers, 0) AS cold_transfers,
    coalesce(issues.effort_tenths, 0) / 10.0::DOUBLE AS effort_index,
    coalesce(cases.handoffs, 0) AS handoffs, coalesce(cases.ping_pongs, 0) AS ping_pongs,
    coalesce(cases.ping_pongs_of_case, 0) AS ping_pongs_of_case,
    coalesce(repeated.n, 0) AS repeat_contacts,
    coalesce(contracts_undecided, 0) AS contracts_undecided, coalesce(contracts_due_soon, 0) AS contracts_due_soon,
    coalesce(nps_lowest, 10) AS nps_lowest, coalesce(csat_lowest, 5) AS csat_lowest, coalesce(ces_lowest, 7) AS ces_lowest,
    coalesce(ces1_highest, 1) AS ces1_highest,
    coalesce(captures_of_field, 0) AS captures_of_field, coalesce(info_repeats, 0) AS info_repeats, coalesce(bot_fallbacks, 0) AS bot_fallbacks,
    coalesce(digital_signals, 0) AS digital_signals, coalesce(rage_clicks, 0) AS rage_clicks, coalesce(error_loops, 0) AS error_loops,
    coalesce(page_loops, 0) AS page_loops, coalesce(step_ping_pongs, 0) AS step_ping_pongs, coalesce(confusions, 0) AS confusions,
    coalesce(stalled, 0) AS stalled,
    coalesce(handoffs_waiting, 0) AS handoffs_waiting, coalesce(handoffs_failed, 0) AS handoffs_failed,
    coalesce(silent_cases, 0) AS silent_cases, coalesce(unowned_cases, 0) AS unowned_cases,
    coalesce(overdue_cases, 0) AS overdue_cases,
    coalesce(repeated_cause, 0) AS repeated_cause,
    coalesce(orders, 0) AS orders, coalesce(lifetime_value, 0) AS lifetime_value, coalesce(slipping, false) AS slipping,
    coalesce(product_views, 0) AS product_views,
    coalesce(share_of_wallet, 1) AS share_of_wallet,
    coalesce(overdue_shipments, 0) AS overdue_shipments, coalesce(contact_overdue, false) AS contact_overdue,
    coalesce(sacrifice_index, 0) AS sacrifice_index, coalesce(preferences_stated, 0) AS preferences_stated,
    patterns,
    refuses(m.key, m.t, m.place) AS refused
FROM moments m
    LEFT JOIN (
        SELECT m.key, m.t, m.place, m.phase, sum(contacts) AS contacts, sum(channel_switches) AS channel_switches,
            sum(recent_switches) AS recent_switches, sum(transfers) AS transfers, sum(cold_transfers) AS cold_transfers, sum(effort_tenths) AS effort_tenths
        FROM moments m
            JOIN issue_moments i ON i.key = m.key AND i.place <= m.place AND i.next_place > m.place
                AND (i.ends > m.t OR (i.ends = m.t AND m.phase < 4))
        GROUP BY ALL
    ) issues USING (key, t, place, phase)
    LEFT JOIN (
        SELECT m.key, m.t, m.place, m.phase, sum(handoffs) AS handoffs, sum(ping_pongs) AS ping_pongs,
            max(ping_pongs) AS ping_pongs_of_case
        FROM moments m
            JOIN case_moments c ON c.key = m.key AND c.place <= m.place AND c.next_place > m.place
                AND (c.ends > m.t OR (c.ends = m.t AND m.phase < 4))
        GROUP BY ALL
    ) cases USING (key, t, place, phase)
    LEFT JOIN (
        SELECT m.key, m.t, m.place, m.phase, count(*) AS n
        FROM moments m, settings
            JOIN effort r ON r.key = m.key AND r.kind = 'repeat' AND r.place <= m.place AND r.t + repeat_within + (m.phase < 2)::INT >= m.t
        GROUP BY ALL
    ) repeated USING (key, t, place, phase)
    LEFT JOIN chapter_moments USING (key, t, place, phase)
    LEFT JOIN (SELECT key, map(list(part), list(place)) AS first_looks FROM first_looks GROUP BY key) USING (key);

-- What befell an instance: its own events, the signals that name it, the deadline that nothing forestalled; and, while it is there, the
-- events and ends of issues that may change the customer's numbers.
CREATE TABLE journey_states AS
WITH own AS (
    SELECT key, journey_no, instance, t, event, events.place, 0 AS phase, role, before IS NULL AS begins, revenue_minor, digits,
        CASE WHEN role IN ('start', 'activity') THEN nullif(step, '') END AS step,
        0 AS friction, 0 AS switches, 0 AS repeats, 0 AS transfers, 0 AS cold, 0 AS tenths
    FROM lives JOIN events USING (event, key, t)
    UNION ALL
    SELECT named.key, journey_no, named_after, events.t, event, place, 1, NULL, false, NULL, NULL, NULL,
        (type IN ('payment.failed', 'form.error', 'friction.signal'))::INT + coalesce(n, 0) + coalesce(found, 0),
        coalesce(switches, 0), coalesce(repeats, 0),
        coalesce(transfers, 0), coalesce(cold, 0), coalesce(tenths, 0) + coalesce(found_tenths, 0)
    FROM named JOIN events USING (event)
        LEFT JOIN (
            SELECT event, count(*) AS n, count(*) FILTER (kind = 'switch') AS switches, count(*) FILTER (kind = 'repeat') AS repeats,
                count(*) FILTER (kind IN ('cold', 'warm')) AS transfers, count(*) FILTER (kind = 'cold') AS cold,
                sum(weight_tenths) AS tenths
            FROM signals JOIN weights USING (kind) GROUP BY event
        ) USING (event)
        LEFT JOIN (SELECT event, count(*) AS found FROM chapter_friction GROUP BY event) USING (event)
        LEFT JOIN (SELECT event, sum(weight_tenths) AS found_tenths FROM found_effort JOIN weights USING (kind) GROUP BY event) USING (event)
    WHERE named_after IS NOT NULL
        AND (type IN ('payment.failed', 'form.error', 'friction.signal') OR n IS NOT NULL OR found IS NOT NULL)
    UNION ALL
    SELECT key, journey_no, instance, due_at, NULL, (SELECT max(place) FROM events WHERE events.key = passed.key AND events.t < due_at),
        2, 'abandoned', false, NULL, NULL, NULL, 0, 0, 0, 0, 0, 0
    FROM (
        SELECT key, journey_no, instance, before + deadline AS due_at FROM lives WHERE abandoned
        UNION ALL
        SELECT key, journey_no, instance, t + deadline FROM lives, settings
        WHERE is_last AND role IN ('start', 'activity') AND t + deadline <= clock
    ) passed
), spans AS (
    SELECT key, journey_no, instance, min(place) FILTER (begins) AS first_place,
        min(place) FILTER (role IN ('complete', 'fail', 'linked', 'late completion')) AS last_place, any_value(gone_at) AS gone_at
    FROM own LEFT JOIN (
        SELECT key, journey_no, instance, t + deadline + recoverable_for AS gone_at FROM lives, settings
        WHERE is_last AND role IN ('start', 'activity')
    ) USING (key, journey_no, instance)
    GROUP BY ALL
), befell AS (
    FROM own
    UNION ALL
    SELECT key, journey_no, instance, t, NULL, place, CASE m.phase WHEN 4 THEN 4 ELSE 3 END, NULL, false, NULL, NULL, NULL, 0, 0, 0, 0, 0, 0
    FROM spans JOIN customer_moments m USING (key)
    WHERE m.phase IN (4, 5) AND looked_at AND place >= first_place AND coalesce(place < last_place, true) AND coalesce(t < gone_at, true)
)
SELECT b.key, journeys.journey, i.instance, b.t, b.place,
    coalesce(list_filter(list_transform(id_names, lambda name: begun.ids[name]), lambda value: value <> '')[1], begun.t::VARCHAR) AS name,
    -- A signal leaves the instance abandoned; its own events end that.
    coalesce(last_value(CASE WHEN role IS NOT NULL THEN role = 'abandoned' END IGNORE NULLS) OVER so_far, false) AS abandoned,
    sum(friction) OVER so_far AS friction, sum(switches) OVER so_far AS channel_switches,
    sum(repeats) OVER so_far AS repeat_contacts,
    sum(b.transfers) OVER so_far AS transfers, sum(cold) OVER so_far AS cold_transfers,
    sum(tenths) OVER so_far / 10.0::DOUBLE AS effort_index,
    coalesce(last_value(b.revenue_minor IGNORE NULLS) OVER so_far, 0)
        / pow(10, coalesce(last_value(CASE WHEN b.revenue_minor IS NOT NULL THEN b.digits END IGNORE NULLS) OVER so_far, 2)) AS "value",
    coalesce(last_value(b.step IGNORE NULLS) OVER so_far, '') AS step,
    begun.channel, begun.platform, begun.segment, begun.region,
    coalesce(of_customer.contacts, 0) AS customer_contacts, coalesce(of_customer.channel_switches, 0) AS customer_switches,
    refuses(b.key, b.t, b.place) AS refused,
    role IN ('complete', 'fail', 'linked', 'late completion') AS ends_it, b.phase NOT IN (2, 4) AS by_event, b.phase IN (3, 4) AS of_issues,
    b.phase = 0 AND NOT begins AS own, row_number() OVER so_far AS nth
FROM befell b
    JOIN instances i ON i.key = b.key AND i.journey_no = b.journey_no AND i.instance = b.instance
    JOIN journeys ON journeys.journey_no = b.journey_no
    JOIN events begun ON begun.event = i.begun_by
    LEFT JOIN customer_moments of_customer
        ON of_customer.key = b.key AND of_customer.t = b.t AND of_customer.place = b.place
            AND of_customer.phase = CASE b.phase WHEN 2 THEN 0 WHEN 4 THEN 4 ELSE 5 END
WINDOW so_far AS (
    PARTITION BY b.key, b.journey_no, b.instance
    ORDER BY b.t, CASE b.phase WHEN 2 THEN -1 ELSE b.place END, b.phase ROWS UNBOUNDED PRECEDING
);

-- Of an instance's own events it is looked at those that begin it and that end that it was abandoned; rules that name a step or a value
-- look at those that change one, too (goes_on).
CREATE TABLE journey_moments AS
SELECT *, NOT own OR coalesce(lag(abandoned) OVER life, false) AS looked_at,
    lag(step) OVER life IS DISTINCT FROM step OR lag("value") OVER life IS DISTINCT FROM "value" AS goes_on
FROM journey_states
WINDOW life AS (PARTITION BY key, journey, instance ORDER BY nth);

-- The moments of one life after the other (nth), with that at which nothing is left of an issue or an instance (over). by_event: an event's,
-- before which all deadlines of its time fall due.
CREATE VIEW customer_lives AS
SELECT *, '' AS journey, 0 AS life, row_number() OVER (PARTITION BY key ORDER BY t, phase > 4, place, phase) AS nth, phase > 4 AS by_event, false AS over
FROM customer_moments
WHERE looked_at;

CREATE VIEW issue_lives AS
SELECT *, '' AS journey, issue AS life, place AS nth, true AS by_event, false AS over FROM issue_moments
UNION ALL BY NAME
SELECT key, name, ends AS t, '' AS journey, issue AS life, next_place AS nth, false AS by_event, true AS over
FROM issue_moments, settings
WHERE next_place = 9223372036854775807 AND ends <= clock;

CREATE VIEW journey_lives AS
SELECT *, instance AS life, coalesce(ends_it, false) AS over FROM journey_moments
UNION ALL BY NAME
SELECT key, journey, name, t + deadline + recoverable_for AS t, instance AS life, 9223372036854775807 AS nth, false AS by_event, true AS over
FROM lives JOIN (SELECT DISTINCT key, journey, instance, name FROM journey_moments) USING (key, journey, instance), settings
WHERE is_last AND role IN ('start', 'activity') AND t + deadline + recoverable_for <= clock;
