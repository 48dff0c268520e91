-- Communication. Definitions: docs/reference/chapters/communication.md.
-- In: events, kinds, kind_patterns, chapter_settings, settings, ends. Out: chapter_changes, undecided_chapter_changes, facts.

INSERT INTO chapter_changes
SELECT counter, 1, t, event, NULL
FROM events JOIN kinds USING (event), (VALUES ('CONTACTS_ASKING'), ('CONTACTS_ABOUT_STATUS')) AS counters (counter)
WHERE starts AND (counter = 'CONTACTS_ASKING' OR list_contains(setting('communication', 'status_reasons')::JSON::VARCHAR[], reason));

CREATE MACRO in_list(type, patterns) AS
    len(list_filter(setting('communication', patterns)::JSON::VARCHAR[], lambda pattern: matches(type, pattern))) > 0;

-- What there is to know of a case: what names it, and the messages that name none, which are to every case of the customer.
CREATE TABLE told AS
SELECT *, opens AND NOT closes AS may_open
FROM (
    SELECT events.event, key, part, place, t, severity,
        coalesce(nullif(case_id, ''), nullif(issue_id, ''), ids['journey_id']) AS "case",
        in_list(type, 'opened') AS opens, in_list(type, 'closed') AS closes,
        coalesce(of_case, false) AS of_case, is_started,
        in_list(type, 'messages') OR (is_started AND initiator = 'company') AS heard,
        CASE WHEN of_case THEN coalesce(list_filter(list_transform(owner_fields, lambda name:
            MAP {'owner': owner, 'team': team, 'to_team': to_team}[name]), lambda name: name <> '')[1], '') ELSE '' END AS owned_by,
        issue_due AS told_due, initiator NOT IN ('customer', 'system') AS by_us
    FROM (
        SELECT *, EXISTS (SELECT 1 FROM kind_patterns WHERE kind = 'started' AND matches(type, pattern)) AS is_started FROM events
    ) events LEFT JOIN kinds USING (event), settings
)
WHERE opens OR closes OR of_case OR is_started OR heard;

CREATE TABLE case_rows AS
SELECT * FROM told WHERE "case" <> ''
UNION ALL
SELECT told.* REPLACE (cases."case" AS "case", false AS may_open, false AS closes, '' AS owned_by, '' AS severity, NULL AS told_due, false AS by_us)
FROM told JOIN (SELECT DISTINCT key, "case" FROM told WHERE "case" <> '') cases USING (key)
WHERE told."case" = '' AND heard AND NOT told.closes;

-- A case ends by being closed, and is forgotten so long after its latest event. Its life begins with the first opening after that.
CREATE TABLE case_lives AS
SELECT * EXCLUDE (began), row_number() OVER life AS nth,
    first_value(event) OVER life AS opened_by, first_value(t) OVER life AS opened,
    lead(t) OVER life AS next_t,
    min(CASE WHEN closes THEN t END) OVER whole AS closed_at,
    -- Until when its deadlines count: an event at exactly a deadline comes after it.
    coalesce(closed_at, max(t) OVER whole + setting('communication', 'forget_after')::BIGINT) AS last_moment
FROM (
    SELECT *, min(CASE WHEN may_open THEN place END) OVER (PARTITION BY key, "case", span) AS began
    FROM (
        SELECT *, sum(breaks::INT) OVER (PARTITION BY key, "case" ORDER BY place) AS span
        FROM (
            SELECT *, coalesce(lag(closes) OVER so_far
                OR t - lag(t) OVER so_far >= setting('communication', 'forget_after')::BIGINT, false) AS breaks
            FROM case_rows
            WINDOW so_far AS (PARTITION BY key, "case" ORDER BY place)
        )
    )
)
WHERE place >= began
WINDOW life AS (PARTITION BY key, "case", span ORDER BY place), whole AS (PARTITION BY key, "case", span);

-- Silence: from hearing something (or the opening) on, until hearing something again; its length depends on the severity known.
CREATE TABLE silences AS
SELECT key, "case", span, stretch, any_value(opened_by) AS opened_by, min(greatest(t, expected)) AS moment,
    any_value(part) AS part, min(CASE WHEN expected > t THEN at_deadline(expected) ELSE after_event(t, place) END) AS since
FROM (
    SELECT *, heard_at + setting('communication',
        CASE WHEN known = 'high' THEN 'silent_after_high' ELSE 'silent_after' END)::BIGINT AS expected
    FROM (
        SELECT *, first_value(t) OVER (PARTITION BY key, "case", span, stretch ORDER BY place) AS heard_at,
            last_value(nullif(severity, '') IGNORE NULLS) OVER (PARTITION BY key, "case", span ORDER BY place) AS known
        FROM (
            SELECT *, sum((heard OR nth = 1)::INT) OVER (PARTITION BY key, "case", span ORDER BY place) AS stretch
            FROM case_lives
            WHERE NOT closes
        )
    )
)
WHERE greatest(t, expected) <= coalesce(next_t, last_moment)
GROUP BY key, "case", span, stretch;

-- due: of what a deadline decides.
CREATE TABLE communication_changes AS
SELECT 'SILENCES' AS counter, moment AS t, opened_by AS event, moment AS due FROM silences;

-- A case has been silent or it has not, once the first silence comes or it is closed without any.
INSERT INTO communication_changes
SELECT unnest(['CASES_ANSWER_DUE', 'CASES_SILENT']), min(moment), any_value(opened_by), min(moment) FROM silences GROUP BY key, "case", span
UNION ALL
SELECT 'CASES_ANSWER_DUE', closed_at, opened_by, NULL
FROM case_lives WHERE nth = 1 AND closed_at IS NOT NULL AND (key, "case", span) NOT IN (SELECT (key, "case", span) FROM silences);

-- The same of an owner: by the first one, by the deadline, or by the closing.
INSERT INTO communication_changes
SELECT unnest(CASE WHEN unowned THEN ['CASES_OWNER_DUE', 'CASES_UNOWNED'] ELSE ['CASES_OWNER_DUE'] END),
    CASE WHEN unowned THEN due ELSE coalesce(owned_at, closed_at) END, opened_by, CASE WHEN unowned THEN due END
FROM (
    SELECT *, NOT owned_at_once AND due <= coalesce(owned_at, last_moment) AND due <= last_moment AS unowned
    FROM (
        SELECT any_value(opened_by) AS opened_by, any_value(last_moment) AS last_moment, any_value(closed_at) AS closed_at,
            min(CASE WHEN owned_by <> '' AND NOT closes THEN t END) AS owned_at,
            bool_or(nth = 1 AND owned_by <> '') AS owned_at_once,
            any_value(opened) + setting('communication', 'owner_within')::BIGINT AS due
        FROM case_lives
        GROUP BY key, "case", span
    )
)
WHERE unowned OR owned_at IS NOT NULL OR closed_at IS NOT NULL;

-- Another owner than the one before, and the first thing the customer hears then or later.
CREATE TABLE owner_changes AS
SELECT *, due <= coalesce(told_at, last_moment) AND due <= last_moment AS untold
FROM (
    SELECT event, told_at, closed_at, last_moment, owned_by, owned_before, t + setting('communication', 'notice_within')::BIGINT AS due
    FROM (
        SELECT *, lag(owned_by) OVER (PARTITION BY key, "case", span ORDER BY place) AS owned_before
        FROM (
            SELECT *, min(CASE WHEN heard AND NOT closes THEN t END)
                OVER (PARTITION BY key, "case", span ORDER BY place ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS told_at
            FROM case_lives
        )
        WHERE owned_by <> '' AND NOT closes
    )
)
WHERE owned_by <> owned_before;

INSERT INTO communication_changes
SELECT unnest(CASE WHEN untold THEN ['OWNER_CHANGES_DUE', 'OWNER_CHANGES_UNTOLD'] ELSE ['OWNER_CHANGES_DUE'] END),
    CASE WHEN untold THEN due ELSE coalesce(told_at, closed_at) END, event, CASE WHEN untold THEN due END
FROM owner_changes
WHERE untold OR told_at IS NOT NULL OR closed_at IS NOT NULL;

-- A due date holds until another is told. Its owner does something by an event that names him again, and by what the customer hears.
CREATE TABLE due_dates AS
SELECT *, lead(t) OVER promises AS replaced, lead(place) OVER promises AS replaced_place
FROM (
    SELECT *, lag(told_due) OVER promises AS due_before
    FROM case_lives
    WHERE told_due > t AND NOT closes
    WINDOW promises AS (PARTITION BY key, "case", span ORDER BY place)
)
WHERE told_due IS DISTINCT FROM due_before
WINDOW promises AS (PARTITION BY key, "case", span ORDER BY place);

CREATE TABLE owner_actions AS
SELECT key, "case", span, t, place
FROM (
    SELECT *, last_value(nullif(owned_by, '') IGNORE NULLS)
        OVER (PARTITION BY key, "case", span ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS owned_before
    FROM case_lives
    WHERE NOT closes
)
WHERE by_us AND (heard OR (owned_by <> '' AND owned_by = owned_before));

-- How each ends: its moment comes, or the case is closed before. comes: at its moment it still holds.
CREATE TABLE due_dates_decided AS
SELECT d.*, d.told_due <= coalesce(replaced, last_moment) AND d.told_due <= last_moment AS comes,
    (SELECT min(at_event(c.t, c.place)) FROM case_lives c
     WHERE c.key = d.key AND c."case" = d."case" AND c.span = d.span AND c.closes) AS closed,
    EXISTS (SELECT 1 FROM owner_actions a WHERE a.key = d.key AND a."case" = d."case" AND a.span = d.span
            AND a.place > d.place AND a.t < d.told_due) AS acted
FROM due_dates d;

INSERT INTO communication_changes
SELECT 'DUE_DATES', CASE WHEN comes THEN told_due ELSE closed.t END, opened_by, CASE WHEN comes THEN told_due END
FROM due_dates_decided WHERE comes OR (replaced IS NULL AND closed IS NOT NULL)
UNION ALL
SELECT 'DUE_DATES_MISSED', told_due, opened_by, told_due FROM due_dates_decided WHERE comes AND NOT acted;

CREATE TABLE known_by_the_end AS
SELECT counter, 1 AS n, changes.t, event, due
FROM communication_changes changes JOIN events USING (event) JOIN ends USING (part)
WHERE coalesce(due <= ends.clock, true);

INSERT INTO chapter_changes SELECT counter, n, t, event, NULL FROM known_by_the_end, settings WHERE coalesce(due < decided + 1000, true);
INSERT INTO undecided_chapter_changes SELECT counter, n, t, event, NULL FROM known_by_the_end, settings WHERE due >= decided + 1000;

-- Until when a case is open; when it is heard of, and who owns it first.
CREATE TABLE case_ends AS
SELECT key, "case", span,
    least(at_event(min(t) FILTER (closes), min(place) FILTER (closes)),
          at_deadline(max(t) + setting('communication', 'forget_after')::BIGINT)) AS ends,
    at_event(min(t) FILTER (owned_by <> ''), min(place) FILTER (owned_by <> '')) AS owned,
    any_value(opened) + setting('communication', 'owner_within')::BIGINT AS due
FROM case_lives GROUP BY ALL;

INSERT INTO facts
SELECT key, 'case silent', 1, since,
    least(ends, (SELECT min(at_event(h.t, h.place)) FROM case_lives h
                 WHERE h.key = s.key AND h."case" = s."case" AND h.span = s.span AND h.heard AND at_event(h.t, h.place) > s.since))
FROM silences s JOIN case_ends USING (key, "case", span)
UNION ALL
SELECT key, 'case unowned', 1, at_deadline(due), least(ends, owned) FROM case_ends
UNION ALL
SELECT key, 'case overdue', 1, at_deadline(told_due),
    least(ends, at_event(replaced, replaced_place), (SELECT min(at_event(a.t, a.place)) FROM owner_actions a
        WHERE a.key = d.key AND a."case" = d."case" AND a.span = d.span AND a.place > d.place))
FROM due_dates_decided d JOIN case_ends USING (key, "case", span)
WHERE comes AND NOT acted;
