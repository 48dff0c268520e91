-- Cases and their owners. Definitions: docs/reference/journeys.md (Cases).
-- In: events, kinds, settings. Out: changes, ping_pongs (event).

-- A case is forgotten `retention` after its last event with an owner: where the gap reaches that, another begins.
CREATE TABLE owned AS
SELECT *, sum(begins::INT) OVER (PARTITION BY key, "case" ORDER BY place) AS case_no
FROM (
    SELECT event, key, place, t, coalesce(nullif(case_id, ''), issue_id) AS "case",
        coalesce(list_filter(list_transform(owner_fields, lambda name:
            MAP {'owner': owner, 'team': team, 'to_team': to_team}[name]), lambda name: name <> '')[1], '') AS owned_by,
        coalesce(t - lag(t) OVER (PARTITION BY key, "case" ORDER BY place) >= retention, true) AS begins
    FROM events JOIN kinds USING (event), settings
    WHERE of_case AND "case" <> '' AND owned_by <> ''
);

-- Consecutive distinct owners: the first, and each that is another than the last.
CREATE TABLE owners AS
SELECT *,
    first_value(owned_by) OVER history AS first_owner, first_value(event) OVER history AS case_begun_by,
    first_value(t) OVER history AS case_begun, lag(owned_by) OVER history AS given_away_by,
    lag(owned_by, 2) OVER history = owned_by AS bounced,
    row_number() OVER history AS nth
FROM (
    SELECT *, lag(owned_by) OVER (PARTITION BY key, "case", case_no ORDER BY place) AS last_owner FROM owned
)
WHERE last_owner IS DISTINCT FROM owned_by
WINDOW history AS (PARTITION BY key, "case", case_no ORDER BY place);

CREATE TABLE ping_pongs AS SELECT event, key, place FROM owners WHERE bounced;

INSERT INTO changes
SELECT 'CASES', 1, t, event, cases_journey, owned_by FROM owners, settings WHERE nth = 1
UNION ALL
SELECT 'CASES_HANDED_OFF', 1, case_begun, case_begun_by, cases_journey, first_owner FROM owners, settings WHERE nth = 2
UNION ALL
SELECT 'HANDOFFS', 1, t, event, cases_journey, given_away_by FROM owners, settings WHERE nth > 1
UNION ALL
SELECT 'PING_PONGS', 1, t, event, cases_journey, given_away_by FROM owners, settings WHERE bounced
UNION ALL
SELECT DISTINCT 'CASES_PING_PONG', 1, case_begun, case_begun_by, cases_journey, first_owner FROM owners, settings WHERE bounced;
