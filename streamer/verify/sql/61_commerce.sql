-- Orders, offers and referrals. Definitions: docs/reference/chapters/commerce.md.
-- In: events, members, ends, settings, chapter_settings. Out: chapter_changes, undecided_chapter_changes, facts.

-- Of events of one name those that count: the first, and again the first that comes `span` or more after the one that counted.
CREATE MACRO counting(relation, span) AS TABLE
WITH RECURSIVE numbered AS (
    SELECT key, name, event, t, row_number() OVER (PARTITION BY key, name ORDER BY place) AS n FROM query_table(relation)
), walked AS (
    SELECT key, name, n, event, t AS since, true AS counts FROM numbered WHERE n = 1
    UNION ALL
    SELECT e.key, e.name, e.n, e.event, CASE WHEN e.t - w.since >= span THEN e.t ELSE w.since END, e.t - w.since >= span
    FROM walked w JOIN numbered e ON e.key = w.key AND e.name = w.name AND e.n = w.n + 1
)
SELECT event FROM walked WHERE counts;

-- An amount that is not negative in hundredths of its currency's unit, halves up.
CREATE MACRO hundredths(minor, digits) AS
    CASE digits WHEN 0 THEN minor * 100 WHEN 3 THEN (minor + 5) // 10 WHEN 4 THEN (minor + 50) // 100 ELSE minor END;

CREATE TABLE order_events AS
SELECT *,
    told <= largest AND dimension(upper(coalesce(details ->> '$.commerce.currency', ''))) IN ('', setting('commerce', 'currency')) AS fits
FROM (
    SELECT *, ids['order_id'] AS name, hundredths(abs(revenue_minor), digits) AS told,
        setting('commerce', 'largest_order')::BIGINT * 100 AS largest
    FROM events WHERE type IN ('order.completed', 'order.cancelled', 'order.refunded')
);

CREATE TABLE named_orders AS FROM order_events WHERE type = 'order.completed' AND name <> '';

-- amount: NULL of an order that is counted apart. cancelled, cancelled_place: the first cancel that comes in time.
CREATE TABLE orders AS
WITH accepted AS (
    SELECT event, key, part, t, place, name, digits, details, largest, CASE WHEN fits AND revenue_minor >= 0 THEN told END AS amount
    FROM order_events
    WHERE type = 'order.completed'
        AND (name = '' OR event IN (SELECT event FROM counting('named_orders', setting('commerce', 'correct_within')::BIGINT)))
)
SELECT accepted.*, cancelled, cancelled_place,
    sum(is_first) OVER (PARTITION BY accepted.key ORDER BY place) AS life
FROM (
    SELECT *, CASE WHEN t - lag(t) OVER (PARTITION BY key ORDER BY place) < setting('commerce', 'customer_for')::BIGINT
                   THEN 0 ELSE 1 END AS is_first
    FROM accepted
) accepted LEFT JOIN (
    SELECT o.event, min(c.t) AS cancelled, min(c.place) AS cancelled_place
    FROM accepted o JOIN order_events c
        ON c.type = 'order.cancelled' AND c.key = o.key AND c.name = o.name AND c.name <> '' AND c.place > o.place
            AND c.t < o.t + setting('commerce', 'correct_within')::BIGINT
    GROUP BY o.event
) cancels USING (event);

-- What orders are made of.
CREATE TABLE order_lines AS
SELECT event, dimension(line ->> '$.category') AS category, coalesce(fixed(line ->> '$.quantity', 0), 1) AS quantity,
    fixed(line ->> '$.price', digits) AS price, fixed(line ->> '$.list_price', digits) AS list_price
FROM (SELECT event, digits, unnest(coalesce(json_extract(details, '$.commerce.lines[*]'), [])[1:100]) AS line FROM orders);

CREATE TABLE standing_orders AS
SELECT orders.*, coalesce(units, 1) AS units, coalesce(categories, 0) > 1 AS cross_sold,
    hundredths(coalesce(paid, 0), digits) AS paid, hundredths(coalesce(reference, 0), digits) AS reference
FROM orders LEFT JOIN (
    SELECT event, sum(quantity)::BIGINT AS units, count(DISTINCT category) FILTER (category <> '') AS categories,
        sum(price::HUGEINT * quantity) FILTER (price >= 0 AND list_price > 0) AS paid,
        sum(list_price::HUGEINT * quantity) FILTER (price >= 0 AND list_price > 0) AS reference
    FROM order_lines GROUP BY event
) made_of USING (event)
WHERE amount IS NOT NULL AND cancelled IS NULL;

INSERT INTO chapter_changes
SELECT counter, n, t, event, NULL FROM (
    SELECT t, event, unnest([
        {'counter': CASE WHEN cross_sold THEN 'ORDERS_CROSS_SOLD' ELSE 'ORDERS_PLAIN' END, 'n': 1::BIGINT},
        {'counter': CASE WHEN cross_sold THEN 'REVENUE_CROSS_SOLD' ELSE 'REVENUE_PLAIN' END, 'n': amount},
        {'counter': CASE WHEN cross_sold THEN 'SQUARES_CROSS_SOLD' ELSE 'SQUARES_PLAIN' END,
         'n': ((amount::HUGEINT * amount + 5000) // 10000)::BIGINT},
        {'counter': 'UNITS_ORDERED', 'n': units},
        {'counter': 'ORDER_SIZE_' || coalesce((
            SELECT min(edge)::VARCHAR FROM (VALUES (5), (10), (20), (50), (100), (200), (500), (1000), (2000), (5000), (10000)) AS edges (edge)
            WHERE amount <= edge * 100), 'ABOVE'), 'n': 1},
        {'counter': 'ORDERS_REPEATED', 'n': CASE WHEN EXISTS (
            SELECT 1 FROM orders earlier WHERE earlier.key = o.key AND earlier.life = o.life AND earlier.place < o.place
                AND coalesce(earlier.cancelled_place > o.place, true)) THEN 1 ELSE 0 END},
        {'counter': 'REFERRAL_ORDERS', 'n': CASE WHEN details ->> '$.commerce.acquisition_source' = 'referral' THEN 1 ELSE 0 END},
        {'counter': 'PRICE_PREMIUM', 'n': CASE WHEN reference BETWEEN 1 AND largest AND paid <= largest THEN (paid - reference)::BIGINT ELSE 0 END},
        {'counter': 'PRICE_REFERENCE', 'n': CASE WHEN reference BETWEEN 1 AND largest AND paid <= largest THEN reference::BIGINT ELSE 0 END}
    ], recursive := true)
    FROM standing_orders o
)
WHERE n <> 0;

-- The same for each level of value on which a journey of the order had been touched by then, if that chapter is on.
CREATE TABLE order_levels AS
SELECT DISTINCT o.event, value_level AS level
FROM standing_orders o JOIN members ordered ON ordered.event = o.event AND ordered.role IN ('start', 'activity', 'complete', 'fail')
    JOIN members before ON before.key = ordered.key AND before.journey_no = ordered.journey_no
        AND before.instance = ordered.instance AND before.n <= ordered.n AND before.role IN ('start', 'activity', 'complete', 'fail')
    JOIN events touched ON touched.event = before.event
WHERE value_level <> '' AND EXISTS (SELECT 1 FROM chapter_settings WHERE chapter = 'value');

INSERT INTO chapter_changes
SELECT 'LEVEL_' || CASE WHEN starts_with(counter, 'ORDERS_') THEN 'ORDERS' ELSE counter END, n, t, event, MAP {'cause': level}
FROM chapter_changes JOIN order_levels USING (event)
WHERE counter IN ('ORDERS_PLAIN', 'ORDERS_CROSS_SOLD', 'REFERRAL_ORDERS', 'PRICE_PREMIUM', 'PRICE_REFERENCE');

INSERT INTO chapter_changes SELECT 'ORDERS_APART', 1, t, event, NULL FROM orders WHERE amount IS NULL AND cancelled IS NULL;
INSERT INTO chapter_changes SELECT 'ORDERS_CANCELLED', 1, t, event, NULL FROM orders WHERE cancelled IS NOT NULL;

CREATE TABLE attachments AS
SELECT pair.key AS base, pair.value AS others
FROM (SELECT unnest(map_entries(from_json(setting('commerce', 'attach')::JSON, '"MAP(VARCHAR, VARCHAR[])"'))) AS pair);

INSERT INTO chapter_changes
SELECT counter, 1, t, event, MAP {'product_category': base}
FROM (SELECT event, t, base, bool_or(list_contains(others, category)) AS attached
      FROM standing_orders JOIN order_lines USING (event), attachments
      GROUP BY event, t, base HAVING bool_or(category = base)),
    (VALUES ('ATTACH_BASES', false), ('ATTACHED', true)) AS kinds (counter, only_attached)
WHERE attached OR NOT only_attached;

-- Refunds: of an order that is known and stands, or of one that is not known. What says no amount gives back what is left of the order.
CREATE TABLE refunds AS
SELECT *, CASE WHEN is_told THEN told WHEN sum(CASE WHEN is_told THEN 0 ELSE 1 END) OVER before > 0 THEN 0
               ELSE greatest(0, order_amount - coalesce(sum(told) FILTER (is_told) OVER before, 0)) END AS amount
FROM (
    SELECT r.event, r.t, r.place, r.told, o.event AS of_order, o.amount AS order_amount, o.cancelled, r.revenue_minor IS NOT NULL AS is_told
    FROM order_events r LEFT JOIN orders o
        ON o.key = r.key AND o.name = r.name AND r.name <> '' AND r.place > o.place
            AND r.t < o.t + setting('commerce', 'correct_within')::BIGINT
    WHERE r.type = 'order.refunded' AND coalesce(r.place < o.cancelled_place, true)
        AND CASE WHEN o.event IS NOT NULL AND o.amount IS NULL THEN false WHEN r.revenue_minor IS NULL THEN o.amount IS NOT NULL ELSE r.fits END
)
WINDOW before AS (PARTITION BY coalesce(of_order, -event) ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING);

INSERT INTO chapter_changes SELECT 'REFUNDED', -amount, t, event, NULL FROM refunds WHERE cancelled IS NULL;

-- The ladder: an order that stands at its horizon, the how manieth it is then, and whether another that stands has followed.
CREATE TABLE horizons AS
SELECT o.event, o.part, o.key, due,
    1 + (SELECT count(*) FROM orders e WHERE e.key = o.key AND e.life = o.life AND e.place < o.place
         AND coalesce(e.cancelled >= due, true)) AS number,
    EXISTS (SELECT 1 FROM orders e WHERE e.key = o.key AND e.place > o.place AND e.t < due AND coalesce(e.cancelled >= due, true)) AS followed
FROM (SELECT *, t + setting('commerce', 'horizon')::BIGINT AS due FROM orders) o
WHERE coalesce(o.cancelled >= due, true);

CREATE TABLE order_deadlines AS
SELECT counter, key, part, due, event
FROM horizons,
    (VALUES (1, false, 'SECOND_ORDERS_DUE'), (1, true, 'SECOND_ORDERS'), (2, false, 'THIRD_ORDERS_DUE'), (2, true, 'THIRD_ORDERS'),
            (3, false, 'FOURTH_ORDERS_DUE'), (3, true, 'FOURTH_ORDERS')) AS rungs (rung, only_followed, counter)
WHERE number = rung AND (followed OR NOT only_followed);

-- The rhythm of a customer: twice the median of the latest ten gaps, if it is of three or more; and until when another order came in time.
CREATE TABLE rhythms AS
SELECT *, t + within AS slips
FROM (
    SELECT *, CASE WHEN len(gaps) % 2 = 1 THEN 2 * gaps[(len(gaps) + 1) // 2]
                   ELSE gaps[len(gaps) // 2] + gaps[len(gaps) // 2 + 1] END AS within
    FROM (
        SELECT event, key, part, t, list_sort(list(gap) FILTER (gap IS NOT NULL) OVER latest) AS gaps,
            lead(t) OVER so_on AS next_t, lead(place) OVER so_on AS next_place
        FROM (SELECT *, t - lag(t) OVER (PARTITION BY key, life ORDER BY place) AS gap FROM orders)
        WINDOW latest AS (PARTITION BY key, life ORDER BY place ROWS BETWEEN 9 PRECEDING AND CURRENT ROW),
            so_on AS (PARTITION BY key ORDER BY place)
    )
    WHERE len(gaps) >= 3
)
WHERE within > 0 AND within < setting('commerce', 'customer_for')::BIGINT AND coalesce(t + within <= next_t, true);

INSERT INTO order_deadlines SELECT 'CUSTOMERS_SLIPPED', key, part, slips, event FROM rhythms;

-- Periods from a customer's first order on: those with an order, when the next one is over, and whether that has one, too.
INSERT INTO order_deadlines
SELECT counter, key, part, due, event
FROM (
    SELECT *, coalesce(lead(period) OVER (PARTITION BY key, life ORDER BY period) = period + 1, false) AS retained
    FROM (
        SELECT key, part, life, period, since + (period + 2) * span AS due, min_by(event, place) AS event
        FROM (SELECT *, (t - since) // span AS period
              FROM (SELECT *, setting('commerce', 'retention_period')::BIGINT AS span, min(t) OVER (PARTITION BY key, life) AS since FROM orders))
        GROUP BY ALL
    )
), (VALUES ('CUSTOMERS_PERIODS', false), ('CUSTOMERS_RETAINED', true)) AS counters (counter, only_retained)
WHERE retained OR NOT only_retained;

-- All three count when the clock, or an event of the customer, has come so far.
CREATE TABLE order_deadlines_passed AS
SELECT counter, due AS t, event, due <= seen AS by_event
FROM order_deadlines JOIN ends USING (part) JOIN (SELECT key, max(t) AS seen FROM events GROUP BY key) USING (key)
WHERE due <= ends.clock OR due <= seen;

INSERT INTO chapter_changes SELECT counter, 1, t, event, NULL FROM order_deadlines_passed, settings WHERE by_event OR t < decided + 1000;
INSERT INTO undecided_chapter_changes SELECT counter, 1, t, event, NULL FROM order_deadlines_passed, settings WHERE NOT by_event AND t >= decided + 1000;

-- A customer counts at his latest order that stands.
INSERT INTO chapter_changes
SELECT counter, 1, t, event, NULL
FROM (
    SELECT event, t, t - lag(t) OVER so_far < setting('commerce', 'repeat_within')::BIGINT AS again,
        lead(event) OVER so_far IS NULL AS is_latest
    FROM orders
    WHERE cancelled IS NULL
    WINDOW so_far AS (PARTITION BY key, life ORDER BY place)
), (VALUES ('CUSTOMERS_ORDERED', false), ('CUSTOMERS_REPEATED', true)) AS counters (counter, only_again)
WHERE is_latest AND (again OR NOT only_again);

-- Offers of an upgrade, and the first acceptance of each in time.
CREATE TABLE offer_events AS
SELECT event, key, t, place, type, id(details ->> '$.offer.offer_id') AS name, dimension(details ->> '$.offer.kind') AS kind
FROM events WHERE type IN ('offer.presented', 'offer.accepted');

CREATE TABLE named_offers AS FROM offer_events WHERE type = 'offer.presented' AND kind = 'upgrade' AND name <> '';

CREATE TABLE offers AS
FROM offer_events
WHERE type = 'offer.presented' AND kind = 'upgrade'
    AND (name = '' OR event IN (SELECT event FROM counting('named_offers', setting('commerce', 'offer_within')::BIGINT)));

INSERT INTO chapter_changes SELECT 'UPGRADES_SHOWN', 1, t, event, NULL FROM offers;
INSERT INTO chapter_changes
SELECT 'UPGRADES_ACCEPTED', 1, t, event, NULL FROM offers o
WHERE EXISTS (
    SELECT 1 FROM offer_events a
    WHERE a.type = 'offer.accepted' AND a.key = o.key AND a.name = o.name AND a.name <> '' AND a.place > o.place
        AND a.t < o.t + setting('commerce', 'offer_within')::BIGINT);

INSERT INTO chapter_changes
SELECT CASE type WHEN 'referral.sent' THEN 'REFERRALS_SENT' ELSE 'REFERRALS_CONVERTED' END, 1, t, event, NULL
FROM events WHERE type IN ('referral.sent', 'referral.converted');

-- What a customer has, while he is remembered: orders until they are cancelled, their amounts, and refunds of those.
CREATE TABLE remembered_orders AS
SELECT event, key, amount, at_event(t, place) AS since,
    least(at_event(cancelled, cancelled_place),
          at_deadline(max(t) OVER (PARTITION BY key, life) + setting('commerce', 'customer_for')::BIGINT)) AS until
FROM orders;

INSERT INTO facts
SELECT key, 'order', 1, since, until FROM remembered_orders
UNION ALL
SELECT key, 'revenue', amount, since, until FROM remembered_orders WHERE amount IS NOT NULL
UNION ALL
SELECT key, 'revenue', -refunds.amount, at_event(t, place), until FROM refunds JOIN remembered_orders o ON o.event = of_order
UNION ALL
SELECT key, 'slipping', 1, at_deadline(slips), least(at_event(next_t, next_place), at_deadline(t + setting('commerce', 'customer_for')::BIGINT))
FROM rhythms;
