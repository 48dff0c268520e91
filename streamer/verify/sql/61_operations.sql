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

-- Targets not too far away. Of the promises the first one; of the others each holds until the next, unless it has passed by then.
CREATE TABLE targets AS
WITH told AS (
    SELECT key, part, shipment, no, place, t, begun, begun_by, there, cancelled_at, target, due
    FROM (UNPIVOT told_of_shipments ON requested, promised, committed INTO NAME target VALUE due)
    WHERE due > t - keep_for AND due < t + keep_for
), followed AS (
    SELECT *, lead(t) OVER telling AS told_again, row_number() OVER telling AS nth
    FROM told
    WINDOW telling AS (PARTITION BY key, shipment, no, target ORDER BY place)
)
SELECT * FROM followed
WHERE CASE target WHEN 'promised' THEN nth = 1 ELSE coalesce(due < told_again, true) END
QUALIFY nth = min(nth) OVER (PARTITION BY key, shipment, no, target);

-- It is past with the clock, or with the customer's next event; but not of an order cancelled by then.
CREATE TABLE passed AS
SELECT targets.*, due + 1 > last_t AND due + 1 >= decided + 1000 AS is_undecided
FROM targets JOIN (SELECT key, max(t) AS last_t FROM events GROUP BY key) USING (key) JOIN ends USING (part), settings
WHERE due + 1 <= greatest(last_t, ends.clock) AND coalesce(due + 1 <= cancelled_at, true);

CREATE TABLE on_time AS
SELECT counter || upper(target) AS counter, due AS t, begun_by AS event, is_undecided
FROM passed, (VALUES ('DUE_'), ('ON_TIME_')) AS counters (counter)
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
WHERE target = setting('operations', 'target');

-- And a contact from one and a half times the cadence after the latest one, whichever it was, until the next, or until it is forgotten.
INSERT INTO facts
SELECT key, 'contact overdue', 1, at_deadline(t + setting('operations', 'cadence')::BIGINT * 3 // 2),
    least(at_event(lead(t) OVER later, lead(place) OVER later), at_deadline(t + setting('operations', 'keep_for')::BIGINT))
FROM company_contacts
WINDOW later AS (PARTITION BY key ORDER BY place);
