-- Browsing. Definitions: docs/reference/chapters/commerce.md (Browsing).
-- In: events, ends, settings, chapter_settings. Out: chapter_changes, undecided_chapter_changes, facts.

-- A new session begins where the one before is over: at exactly the gap it is.
CREATE TABLE browsing_events AS
SELECT *, sum(is_new) OVER (PARTITION BY key, session ORDER BY place) AS run
FROM (
    SELECT *, ids['session'] AS session,
        CASE WHEN t - lag(t) OVER (PARTITION BY key, ids['session'] ORDER BY place) < setting('browsing', 'gap')::BIGINT
             THEN 0 ELSE 1 END AS is_new
    FROM events WHERE starts_with(type, 'product.') OR starts_with(type, 'cart.')
);

CREATE TABLE browsing_sessions AS
SELECT key, session, run, part, min(t) AS begun, max(t) AS last_seen, max(t) + setting('browsing', 'gap')::BIGINT AS ended,
    count(*) FILTER (type = 'product.viewed') AS views, bool_or(type = 'cart.item_added') AS taken,
    arg_min(event, place) FILTER (type = 'product.viewed') AS first_view
FROM browsing_events
GROUP BY key, session, run, part
HAVING views > 0;

-- Over by the partition's clock, or by a later event of the customer.
CREATE TABLE browsing_decided AS
SELECT counter, 1 AS n, ended AS t, first_view AS event, NULL::MAP(VARCHAR, VARCHAR) AS own, ended <= coalesce(seen, ended - 1) AS by_event
FROM browsing_sessions JOIN ends USING (part) LEFT JOIN (SELECT key, max(t) AS seen FROM events GROUP BY key) USING (key),
    (VALUES ('SESSIONS_BROWSED', false), ('SESSIONS_HESITATED', true)) AS kinds (counter, hesitated)
WHERE (ended <= ends.clock OR by_event)
    AND (NOT hesitated OR (NOT taken AND (views >= setting('browsing', 'views')::BIGINT
                                          OR last_seen - begun >= setting('browsing', 'dwell')::BIGINT)));

INSERT INTO chapter_changes SELECT counter, n, t, event, own FROM browsing_decided, settings WHERE by_event OR t < decided + 1000;
INSERT INTO undecided_chapter_changes
SELECT counter, n, t, event, own FROM browsing_decided, settings WHERE NOT by_event AND t >= decided + 1000;

-- What an open session has seen, as long as nothing is in the cart.
INSERT INTO facts
SELECT key, 'product views', views, at_event(t, place),
    least(at_event(next_t, next_place), at_deadline(t + setting('browsing', 'gap')::BIGINT))
FROM (
    SELECT *, count(*) FILTER (type = 'product.viewed') OVER so_far AS views, bool_or(type = 'cart.item_added') OVER so_far AS taken,
        lead(t) OVER session AS next_t, lead(place) OVER session AS next_place
    FROM browsing_events
    WINDOW session AS (PARTITION BY key, session, run ORDER BY place),
        so_far AS (PARTITION BY key, session, run ORDER BY place ROWS UNBOUNDED PRECEDING)
)
WHERE NOT taken;
