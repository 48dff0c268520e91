-- Operations. Definitions: docs/reference/chapters/operations.md.
-- In: events, kinds, ends, settings, chapter_settings. Out: chapter_changes, undecided_chapter_changes, facts.

-- A shipment is forgotten keep_for after its last event: where the gap reaches that, another begins.
CREATE TABLE shipment_events AS
SELECT *, sum(begins::INT) OVER (PARTITION BY key, shipment ORDER BY place) AS no
FROM (
    SELECT *, coalesce(t - lag(t) OVER (PARTITION BY key, shipment ORDER BY place) >= keep_for, true) AS begins
    FROM (
        SELECT event, key, place, t, part, type, ids['order_id'] AS order_id, setting('operations', 'keep_for')::BIGINT AS keep_for,
            id(details ->> '$.fulfilment.shipment_id') AS shipment_id,
            CASE WHEN shipment_id <> '' THEN 'shipment ' || shipment_id ELSE 'order ' || ids['order_id'] END AS shipment,
            dimension(details ->> '$.fulfilment.service') AS service, dimension(details ->> '$.fulfilment.requested_by') AS requested_by,
            rfc3339_ms(details ->> '$.fulfilment.requested_at') AS requested, rfc3339_ms(details ->> '$.fulfilment.promised_at') AS promised,
            rfc3339_ms(details ->> '$.fulfilment.committed_at') AS committed,
            CASE WHEN type = 'shipment.delivered' OR (type = 'shipment.shipped' AND setting('operations', 'on_time') = 'shipped')
                 THEN least(t, rfc3339_ms(details ->> ('$.fulfilment.' || setting('operations', 'on_time') || '_at'))) END AS arrived
        FROM events
        WHERE type IN ('shipment.created', 'shipment.shipped', 'shipment.delivered', 'shipment.delayed')
            AND (id(details ->> '$.fulfilment.shipment_id') <> '' OR ids['order_id'] <> '')
    )
);

-- What ends it: the first event that says it is there, unless its order was cancelled before that.
CREATE TABLE shipments AS
WITH told AS (
    SELECT key, part, shipment, no, keep_for, min_by(event, place) AS begun_by, min(t) AS begun, max(t) AS last_event,
        min_by(order_id, place) FILTER (order_id <> '') AS order_id, min(place) FILTER (order_id <> '') AS order_told,
        min(t) FILTER (order_id <> '') AS order_told_at,
        min(place) FILTER (arrived IS NOT NULL) AS arrival, min_by(arrived, place) FILTER (arrived IS NOT NULL) AS there
    FROM shipment_events
    GROUP BY ALL
), cancelled AS (
    SELECT told.key, shipment, no, min(events.place) AS cancellation, min(events.t) AS cancelled_at
    FROM told JOIN events
        ON events.key = told.key AND events.type = 'order.cancelled' AND events.ids['order_id'] = told.order_id
            AND events.place > order_told AND events.t < last_event + keep_for AND (arrival IS NULL OR events.place < arrival)
    GROUP BY ALL
)
SELECT told.* REPLACE (CASE WHEN cancellation IS NULL THEN there END AS there), cancellation, cancelled_at
FROM told LEFT JOIN cancelled USING (key, shipment, no);

CREATE TABLE told_of_shipments AS
SELECT e.*, begun_by, begun, there, cancelled_at
FROM shipment_events e JOIN shipments USING (key, shipment, no)
WHERE cancellation IS NULL OR e.place < cancellation;

INSERT INTO chapter_changes
SELECT 'SHIPMENTS', 1, begun, begun_by, NULL FROM shipments
UNION ALL
SELECT 'SHIPMENTS_EXPEDITED' || kind, 1, begun, begun_by, NULL
FROM (
    SELECT key, shipment, no, begun, begun_by, min_by(requested_by, place) AS requested_by
    FROM told_of_shipments WHERE service = 'expedited' GROUP BY ALL
), (VALUES ('', NULL), ('_CUSTOMER', 'customer'), ('_COMPANY', 'company')) AS kinds (kind, who)
WHERE who IS NULL OR who = requested_by;

-- What is told with orders: targets not too far away. An order is forgotten keep_for after the last of these, or when it is cancelled.
CREATE TABLE promise_events AS
SELECT *, sum(begins::INT) OVER (PARTITION BY key, order_id ORDER BY place) AS life
FROM (
    SELECT *, coalesce(t - lag(t) OVER same >= keep_for OR lag(type) OVER same = 'order.cancelled', true) AS begins
    FROM (
        SELECT event, key, part, place, t, type, ids['order_id'] AS order_id, keep_for, list_filter([
                {'target': 'requested', 'due': rfc3339_ms(details ->> '$.fulfilment.requested_at')},
                {'target': 'promised', 'due': rfc3339_ms(details ->> '$.fulfilment.promised_at')},
                {'target': 'committed', 'due': rfc3339_ms(details ->> '$.fulfilment.committed_at')}],
                lambda one: one.due > t - keep_for AND one.due < t + keep_for) AS told
        FROM events, (SELECT setting('operations', 'keep_for')::BIGINT AS keep_for)
        WHERE type IN ('order.completed', 'order.updated', 'order.cancelled') AND ids['order_id'] <> ''
    )
    WHERE type = 'order.cancelled' OR len(told) > 0
    WINDOW same AS (PARTITION BY key, order_id ORDER BY place)
);

CREATE TABLE promised_orders AS
SELECT key, part, order_id, life, keep_for, min_by(event, place) AS begun_by, min(place) AS first_place, max(t) AS last_event,
    any_value(ended) AS ended, any_value(ended_at) AS ended_at
FROM (
    SELECT *, min(place) FILTER (type = 'order.cancelled') OVER whole AS ended, min(t) FILTER (type = 'order.cancelled') OVER whole AS ended_at
    FROM promise_events
    WINDOW whole AS (PARTITION BY key, order_id, life)
)
WHERE type <> 'order.cancelled'
GROUP BY ALL;

-- Shipments stand for the order from the first one on: when it names the order, or when something is told with the order that it has named.
CREATE TABLE order_shipments AS
SELECT o.key, o.order_id, o.life, s.shipment, s.no, s.order_told AS place, s.order_told_at AS t, true AS names
FROM promised_orders o JOIN shipments s ON s.key = o.key AND s.order_id = o.order_id AND s.order_told > o.first_place
    AND coalesce(s.order_told < o.ended, true) AND s.order_told_at < o.last_event + o.keep_for
UNION ALL
SELECT e.key, e.order_id, e.life, s.shipment, s.no, e.place, e.t, false
FROM promise_events e JOIN shipments s
    ON s.key = e.key AND s.order_id = e.order_id AND s.order_told < e.place AND e.t < s.last_event + s.keep_for
WHERE e.type <> 'order.cancelled';

CREATE TABLE taken_orders AS
SELECT key, order_id, life, min(place) AS taken, min(t) AS taken_at FROM order_shipments GROUP BY ALL;

-- Of the promises the first one; of the others each holds until the next, unless it has passed by then.
CREATE TABLE order_targets AS
SELECT *, lead(t) OVER telling AS told_again, lead(place) OVER telling AS told_again_place, row_number() OVER telling AS nth
FROM (SELECT key, order_id, life, place, t, unnest(told, recursive := true) FROM promise_events WHERE type <> 'order.cancelled')
WINDOW telling AS (PARTITION BY key, order_id, life, target ORDER BY place);

-- Told of a shipment: by its own events; when it first names its order, what the order's targets are then, if nothing else is known of them
-- (settled: the order was late for them by itself, and this shipment stands for it now); and by what comes with the order later.
CREATE TABLE told_targets AS
WITH own AS (
    SELECT key, shipment, no, place, t, target, due, 1 AS sub, false AS settled
    FROM (UNPIVOT told_of_shipments ON requested, promised, committed INTO NAME target VALUE due)
    WHERE due > t - keep_for AND due < t + keep_for
)
FROM own
UNION ALL
SELECT s.key, s.shipment, s.no, s.place, s.t, o.target, o.due, 0, o.due < s.t AND s.place = taken
FROM order_shipments s JOIN taken_orders USING (key, order_id, life) JOIN order_targets o USING (key, order_id, life)
WHERE names AND o.place < s.place
    AND CASE o.target WHEN 'promised' THEN nth = 1 ELSE coalesce(o.due < told_again OR told_again_place > s.place, true) END
    AND NOT EXISTS (FROM own WHERE own.key = s.key AND own.shipment = s.shipment AND own.no = s.no AND own.target = o.target AND own.place < s.place)
QUALIFY nth = min(nth) OVER (PARTITION BY s.key, s.shipment, s.no, o.target)
UNION ALL
SELECT key, shipment, no, order_shipments.place, order_shipments.t, target, due, 0, false
FROM order_shipments JOIN shipments USING (key, shipment, no) JOIN order_targets o ON o.key = shipments.key AND o.order_id = shipments.order_id
    AND o.place = order_shipments.place
WHERE NOT names AND coalesce(order_shipments.place < cancellation, true);

CREATE TABLE targets AS
WITH followed AS (
    SELECT told_targets.*, part, begun_by, there, cancelled_at, last_event + keep_for AS forgotten, lead(t) OVER telling AS told_again, row_number() OVER telling AS nth
    FROM told_targets JOIN shipments USING (key, shipment, no)
    WINDOW telling AS (PARTITION BY key, shipment, no, target ORDER BY place, sub)
)
SELECT * FROM followed
WHERE CASE target WHEN 'promised' THEN nth = 1 ELSE coalesce(due < told_again, true) END
QUALIFY nth = min(nth) OVER (PARTITION BY key, shipment, no, target);

-- It is past with the clock, or with the customer's next event; but not of an order cancelled by then, nor of a shipment forgotten by then.
CREATE TABLE passed AS
SELECT targets.*, due + 1 > last_t AND due + 1 >= decided + 1000 AS is_undecided
FROM targets JOIN (SELECT key, max(t) AS last_t FROM events GROUP BY key) USING (key) JOIN ends USING (part), settings
WHERE due + 1 <= greatest(last_t, ends.clock) AND coalesce(due + 1 <= cancelled_at, true) AND due + 1 <= forgotten;

-- And of an order, before any of its shipments is known.
CREATE TABLE late_orders AS
SELECT o.*, begun_by, taken, taken_at, ended, ended_at, last_event + keep_for AS forgotten, there,
    due + 1 > last_t AND due + 1 >= decided + 1000 AS is_undecided
FROM (
    FROM order_targets
    WHERE CASE target WHEN 'promised' THEN nth = 1 ELSE coalesce(due < told_again, true) END
    QUALIFY nth = min(nth) OVER (PARTITION BY key, order_id, life, target)
) o JOIN promised_orders USING (key, order_id, life) LEFT JOIN taken_orders USING (key, order_id, life)
    LEFT JOIN (
        SELECT key, order_id, target, due, place AS taken, there FROM told_targets JOIN shipments USING (key, shipment, no) WHERE settled
    ) USING (key, order_id, target, due, taken)
    JOIN (SELECT key, max(t) AS last_t FROM events GROUP BY key) USING (key) JOIN ends USING (part), settings
WHERE due + 1 <= greatest(last_t, ends.clock) AND coalesce(due + 1 <= ended_at, true) AND coalesce(due + 1 <= taken_at AND place < taken, true);

CREATE TABLE on_time AS
SELECT counter || upper(target) AS counter, due AS t, begun_by AS event, is_undecided
FROM (
    SELECT target, due, begun_by, is_undecided, there FROM passed WHERE NOT settled
    UNION ALL
    SELECT target, due, begun_by, is_undecided, there FROM late_orders
), (VALUES ('DUE_'), ('ON_TIME_')) AS counters (counter)
WHERE counter = 'DUE_' OR there <= due;

INSERT INTO chapter_changes SELECT counter, 1, t, event, NULL FROM on_time WHERE NOT is_undecided;
INSERT INTO undecided_chapter_changes SELECT counter, 1, t, event, NULL FROM on_time WHERE is_undecided;

-- Contacts that a person of ours began, and whether they answer: what the customer has contacted us about within the window.
CREATE TABLE named_contacts AS
SELECT event, key, place, t, type, channel, initiator, details, initiator NOT IN ('company', 'system') AND (
        coalesce(starts OR reopens, false) OR type = 'case.opened') AS asks,
    list_filter([['issue', issue_id], ['case', case_id], ['contact', contact_id]], lambda name: name[2] <> '') AS names
FROM events LEFT JOIN kinds USING (event);

CREATE TABLE company_contacts AS
SELECT event, key, place, t, EXISTS (
        FROM named_contacts a
        WHERE a.key = c.key AND a.asks AND a.place < c.place AND c.t < a.t + contact_window AND list_has_any(a.names, c.names)) AS answers
FROM named_contacts c, settings
WHERE type = 'contact.started' AND initiator = 'company' AND channel NOT IN ('bot', 'ivr')
    AND (details ->> '$.message.human')::BOOLEAN IS DISTINCT FROM false;

-- Those of our own accord, and messages that inform.
CREATE TABLE outbound AS
SELECT event, key, place, t, 'PROACTIVE_CONTACTS' AS every, 'CUSTOMERS_CONTACTED' AS latest FROM company_contacts WHERE NOT answers
UNION ALL
SELECT event, key, place, t, 'INFORMATION', 'CUSTOMERS_INFORMED'
FROM events
WHERE type = 'message.sent' AND dimension(details ->> '$.message.kind') = 'information';

INSERT INTO chapter_changes
SELECT every, 1, t, event, NULL FROM outbound
UNION ALL
SELECT latest, 1, t, event, NULL
FROM (SELECT *, lead(t) OVER (PARTITION BY key, every ORDER BY place) AS again FROM outbound)
WHERE coalesce(again - t >= setting('operations', 'per_customer')::BIGINT, true);

-- An opening is of the latest message of its id, if that is known still.
INSERT INTO chapter_changes
SELECT 'INFORMATION_OPENED', 1, t, event, NULL
FROM (
    SELECT event, key, place, t, message_id, opened, lead(place) OVER (PARTITION BY key, message_id ORDER BY place) AS sent_again
    FROM (
        SELECT outbound.*, id(details ->> '$.message.message_id') AS message_id, (details ->> '$.message.opened')::BOOLEAN AS opened
        FROM outbound JOIN events USING (event)
        WHERE every = 'INFORMATION'
    )
) sent
WHERE opened OR (message_id <> '' AND EXISTS (
    FROM events
    WHERE events.key = sent.key AND events.type = 'message.opened' AND id(events.details ->> '$.message.message_id') = sent.message_id
        AND events.place > sent.place AND coalesce(events.place < sent.sent_again, true)
        AND events.t < sent.t + setting('operations', 'opened_within')::BIGINT));

-- A shipment is overdue once its target has passed, or that was told, until it is there, cancelled or forgotten.
INSERT INTO facts
SELECT passed.key, 'shipment overdue', 1, greatest(at_deadline(due + 1), at_event(passed.t, passed.place)),
    least(at_event(arriving.t, arrival), at_event(shipments.cancelled_at, cancellation), at_deadline(last_event + keep_for))
FROM passed JOIN shipments USING (key, shipment, no)
    LEFT JOIN events arriving ON arriving.key = passed.key AND arriving.place = shipments.arrival
WHERE target = setting('operations', 'target')
UNION ALL
SELECT key, 'shipment overdue', 1, greatest(at_deadline(due + 1), at_event(t, place)),
    least(at_event(taken_at, taken), at_event(ended_at, ended), at_deadline(forgotten))
FROM late_orders
WHERE target = setting('operations', 'target');

-- And a contact from one and a half times the cadence after the latest one, whichever it was, until the next, or until it is forgotten.
INSERT INTO facts
SELECT key, 'contact overdue', 1, at_deadline(t + setting('operations', 'cadence')::BIGINT * 3 // 2),
    least(at_event(lead(t) OVER later, lead(place) OVER later), at_deadline(t + setting('operations', 'keep_for')::BIGINT))
FROM company_contacts
WINDOW later AS (PARTITION BY key ORDER BY place);
