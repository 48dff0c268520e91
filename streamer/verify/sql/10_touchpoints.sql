-- The raw log as touchpoints, and what becomes of each record.
-- Definitions: docs/reference/touchpoint.md, docs/reference/journeys.md (Time).
-- In:  raw (one row a record), settings, event_types.
-- Out: records (with outcome and reason), events (what is applied, in event order), late_events.

-- The years 1 to 9999.
CREATE MACRO writable(ms) AS CASE WHEN ms BETWEEN -62135596800000 AND 253402300799999 THEN ms END;

CREATE MACRO rfc3339_ms(text) AS
    CASE
        WHEN length(text) <= 64
            AND regexp_full_match(text, '[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})')
            AND text[1:4] <> '0000' AND text[12:13] <= '23' AND text[18:19] <= '60'
            AND (right(text, 1) IN ('Z', 'z') OR (text[-5:-4] <= '23' AND text[-2:] <= '59'))
        THEN writable(epoch_ms(try_cast(text[1:10] || ' ' || text[12:16] || ':00' AS TIMESTAMP))
            + text[18:19]::BIGINT * 1000
            + rpad(left(regexp_extract(text, '\.([0-9]+)', 1), 3), 3, '0')::BIGINT
            - CASE WHEN right(text, 1) IN ('Z', 'z') THEN 0
                   ELSE (text[-5:-4]::BIGINT * 60 + text[-2:]::BIGINT) * 60000 * CASE text[-6:-6] WHEN '-' THEN -1 ELSE 1 END END)
    END;

CREATE MACRO dimension(text) AS
    regexp_replace(left(coalesce(text, ''), 64), '[\x00-\x1f\x7f-\x{9f}\x{2028}-\x{202e}\x{2066}-\x{2069}]', chr(65533), 'g');

CREATE MACRO label(text) AS
    regexp_replace(left(coalesce(text, ''), 128), '[\x00-\x1f\x7f-\x{9f}\x{2028}-\x{202e}\x{2066}-\x{2069}]', chr(65533), 'g');

CREATE MACRO id(text) AS left(coalesce(text, ''), 128);

-- How many of these fields are neither absent, null, nor of one of these types.
CREATE MACRO mistyped(document, paths, kinds) AS
    len(list_filter(json_type(document, paths), lambda kind: NOT list_contains(kinds, kind)));

-- The same of what a path with [*] stands for.
CREATE MACRO mistyped_each(document, path, kinds) AS
    coalesce(len(list_filter(json_type(document, path), lambda kind: NOT list_contains(kinds, kind))), 0);

CREATE MACRO wrong_data(document) AS
    mistyped(document, ['$.channel', '$.customer_id', '$.anonymous_id', '$.session_id', '$.journey', '$.journey_id', '$.stage', '$.step',
        '$.platform', '$.segment', '$.region', '$.persona', '$.product_category', '$.issue.issue_id', '$.issue.case_id',
        '$.issue.contact_id', '$.issue.reason', '$.issue.severity', '$.issue.due_at', '$.actor.team', '$.actor.partner', '$.actor.owner',
        '$.actor.initiator', '$.handoff.from_team', '$.handoff.to_team', '$.handoff.partner', '$.handoff.kind',
        '$.commerce.checkout_id', '$.commerce.order_id', '$.commerce.cart_id', '$.commerce.currency', '$.friction.kind',
        '$.friction.code', '$.friction.field', '$.friction.element_id', '$.account_id', '$.touchpoint', '$.value_level',
        '$.commerce.acquisition_source',
        '$.fulfilment.shipment_id', '$.fulfilment.requested_at', '$.fulfilment.promised_at', '$.fulfilment.committed_at',
        '$.fulfilment.shipped_at', '$.fulfilment.delivered_at', '$.fulfilment.service', '$.fulfilment.requested_by',
        '$.survey.about.journey_id', '$.survey.about.case_id', '$.survey.about.order_id',
        '$.survey.instrument', '$.survey.ces_version', '$.survey.scope', '$.survey.question_id', '$.handling.template_id', '$.handling.tag',
        '$.offer.offer_id', '$.offer.kind', '$.message.kind', '$.message.message_id', '$.contract.contract_id', '$.contract.due_at', '$.preference.attribute',
        '$.info.field', '$.goal.goal_id'], ['VARCHAR', 'NULL'])
    + mistyped(document, ['$.issue', '$.actor', '$.handoff', '$.commerce', '$.friction', '$.consent', '$.consent.categories',
        '$.fulfilment', '$.survey', '$.survey.about', '$.handling', '$.offer', '$.message', '$.contract', '$.wallet', '$.preference',
        '$.search', '$.info', '$.goal'], ['OBJECT', 'NULL'])
    + mistyped(document, ['$.issue.resolved', '$.consent.categories.analytics', '$.handling.profile_viewed', '$.handling.personalised',
        '$.message.human', '$.message.opened'], ['BOOLEAN', 'NULL'])
    + mistyped(document, ['$.handoff.context_passed'], ['ARRAY', 'BOOLEAN', 'NULL'])
    + mistyped(document, ['$.handoff.required_context', '$.commerce.lines'], ['ARRAY', 'NULL'])
    + mistyped_each(document, '$.handoff.required_context[*]', ['VARCHAR'])
    + mistyped_each(document, '$.commerce.lines[*]', ['OBJECT'])
    + mistyped_each(document, '$.commerce.lines[*].category', ['VARCHAR', 'NULL'])
    + mistyped_each(document, '$.commerce.lines[*].tier', ['VARCHAR', 'NULL'])
    + mistyped_each(document, '$.commerce.lines[*].added_via', ['VARCHAR', 'NULL'])
    + mistyped(document, ['$.handling.bot_fallbacks', '$.survey.brands', '$.survey.rank', '$.search.results'], ['BIGINT', 'UBIGINT', 'DOUBLE', 'NULL'])
    + len(list_filter(document ->> ['$.handling.bot_fallbacks', '$.survey.brands', '$.survey.rank', '$.search.results'],
                      lambda told: abs(try_cast(told AS DOUBLE)) > 1e15 OR try_cast(told AS DOUBLE) % 1 <> 0))
    + mistyped(document, ['$.commerce.revenue'], ['VARCHAR', 'BIGINT', 'UBIGINT', 'HUGEINT', 'DOUBLE', 'NULL'])
    + mistyped_each(document, '$.handoff.context_passed[*]', ['VARCHAR']) > 0;

-- Digits after the point by ISO 4217; two if the currency is missing or unknown.
CREATE MACRO exponent(currency) AS
    CASE WHEN upper(currency) IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI', 'VND', 'VUV',
                                  'XAF', 'XOF', 'XPF') THEN 0
         WHEN upper(currency) IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 3
         WHEN upper(currency) IN ('CLF', 'UYW') THEN 4
         ELSE 2 END;

-- A number with so many digits after the point as an integer, half to even; NULL if it is not there.
CREATE MACRO fixed(amount, digits) AS
    round_even(CASE WHEN regexp_matches(amount, '[eE]') THEN amount::DOUBLE::DECIMAL(38, 22) ELSE amount::DECIMAL(38, 22) END
               * pow(10, digits)::BIGINT, 0)::BIGINT;

CREATE MACRO wrong_amount(amount, kind, currency) AS
    NOT (CASE kind WHEN 'VARCHAR' THEN regexp_full_match(amount, '-?[0-9]{1,15}(\.[0-9]{1,18})?')
                   ELSE regexp_full_match(amount, '-?[0-9]{1,15}(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,3})?') END
         AND abs(try_cast(amount AS DOUBLE)) * pow(10, exponent(currency)) <= 1e15);

-- Of the types whose details are read: numbers and moments that are there but are none.
CREATE MACRO wrong_number(document, path, digits) AS
    coalesce(json_type(document, path), 'NULL') <> 'NULL'
    AND NOT (CASE WHEN json_type(document, path) = 'VARCHAR' THEN regexp_full_match(document ->> path, '-?[0-9]{1,15}(\.[0-9]{1,18})?')
                  WHEN json_type(document, path) IN ('BIGINT', 'UBIGINT', 'HUGEINT', 'DOUBLE')
                      THEN regexp_full_match(document ->> path, '-?[0-9]{1,15}(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,3})?')
                  ELSE false END
             AND abs(try_cast(document ->> path AS DOUBLE)) * pow(10, digits) <= 1e15);

CREATE MACRO wrong_moment(document, path) AS
    coalesce(document ->> path, '') <> '' AND rfc3339_ms(document ->> path) IS NULL;

CREATE MACRO wrong_line(line, digits) AS
    wrong_number(line, '$.price', digits) OR wrong_number(line, '$.list_price', digits) OR wrong_number(line, '$.quantity', 0)
    OR coalesce(fixed(line ->> '$.quantity', 0) NOT BETWEEN 0 AND 1000000, false);

CREATE MACRO wrong_details(document) AS
    wrong_number(document, '$.survey.score', 2) OR wrong_number(document, '$.survey.scale_min', 2)
    OR wrong_number(document, '$.survey.scale_max', 2)
    OR wrong_number(document, '$.wallet.own', exponent(document ->> '$.commerce.currency'))
    OR wrong_number(document, '$.wallet.competitors', exponent(document ->> '$.commerce.currency'))
    OR wrong_number(document, '$.preference.weight', 3) OR wrong_number(document, '$.preference.distance', 3)
    OR wrong_number(document, '$.handling.wait_seconds', 3) OR coalesce(round_even(try_cast(document ->> '$.handling.wait_seconds' AS DOUBLE) * 1000, 0) < 0, false)
    OR len(list_filter(coalesce(json_extract(document, '$.commerce.lines[*]'), [])[1:100],
                       lambda line: wrong_line(line, exponent(document ->> '$.commerce.currency')))) > 0
    OR coalesce(list_sum(list_transform(coalesce(json_extract(document, '$.commerce.lines[*]'), [])[1:100],
        lambda line: strlen(dimension(line ->> '$.category')) + strlen(dimension(line ->> '$.tier')) + strlen(dimension(line ->> '$.added_via')))),
        0) > 16384
    OR wrong_moment(document, '$.contract.due_at') OR wrong_moment(document, '$.fulfilment.requested_at')
    OR wrong_moment(document, '$.fulfilment.promised_at') OR wrong_moment(document, '$.fulfilment.committed_at')
    OR wrong_moment(document, '$.fulfilment.shipped_at') OR wrong_moment(document, '$.fulfilment.delivered_at');

-- The three forms end in the same two columns: the envelope's fields, and the document that has the event's.
CREATE TABLE forms AS
SELECT *,
    CASE WHEN json_type(value, '$.data') = 'OBJECT' AND ce_type IS NULL THEN value -> '$.data' ELSE value END AS document,
    coalesce(ce_type, CASE WHEN ce_type IS NULL THEN value ->> '$.type' END) AS told_type,
    coalesce(ce_time, CASE WHEN ce_type IS NULL THEN value ->> '$.time' END) AS told_time,
    coalesce(ce_id, CASE WHEN ce_type IS NULL THEN value ->> '$.id' END) AS told_id,
    coalesce(ce_source, CASE WHEN ce_type IS NULL THEN value ->> '$.source' END) AS told_source
FROM raw;

-- Each step holds every value of the log, so what has been read is let go.
DROP TABLE raw;

CREATE TABLE judged AS
SELECT *, rfc3339_ms(told_time) AS event_time,
    document ->> '$.customer_id' AS customer_id,
    document ->> '$.anonymous_id' AS anonymous_id,
    CASE
        WHEN control_ms IS NOT NULL THEN NULL
        WHEN size > 1048576 THEN 'oversize'
        WHEN value IS NULL OR size = 0 THEN 'invalid_json'
        WHEN json_type(value) <> 'OBJECT' THEN 'wrong_type'
        WHEN mistyped(value, ['$.data'], ['OBJECT', 'NULL']) > 0 AND ce_type IS NULL THEN 'wrong_type'
        WHEN ce_type IS NULL
            AND mistyped(value, ['$.type', '$.time', '$.id', '$.source', '$.specversion'], ['VARCHAR', 'NULL']) > 0 THEN 'wrong_type'
        WHEN wrong_data(value) OR wrong_data(document) THEN 'wrong_type'
        WHEN coalesce(json_type(document, '$.commerce.revenue'), 'NULL') <> 'NULL'
            AND wrong_amount(document ->> '$.commerce.revenue', json_type(document, '$.commerce.revenue'),
                             document ->> '$.commerce.currency') THEN 'wrong_type'
        WHEN wrong_moment(document, '$.issue.due_at') THEN 'wrong_type'
        WHEN (label(told_type) IN (FROM detailed_types)
              OR array_to_string(string_split(label(told_type), '.')[-2:], '.') IN (FROM detailed_types))
            AND wrong_details(document) THEN 'wrong_type'
        WHEN coalesce(told_type, '') = '' OR coalesce(told_time, '') = '' OR coalesce(document ->> '$.channel', '') = ''
            OR (ce_type IS NULL AND coalesce(json_type(value, '$.data'), 'NULL') = 'NULL'
                AND coalesce(json_type(value, '$.specversion'), 'NULL') <> 'NULL') THEN 'missing_field'
        WHEN event_time IS NULL THEN 'invalid_time'
        WHEN coalesce(customer_id, '') = '' AND coalesce(anonymous_id, '') = '' THEN 'missing_customer'
        WHEN coalesce(key, '') = '' THEN 'unkeyed'
        WHEN key IS DISTINCT FROM customer_id AND key IS DISTINCT FROM anonymous_id THEN 'misrouted'
        WHEN length(key) > 128 THEN 'oversize'
        WHEN event_time > arrival + 5 * 60000 THEN 'future'
    END AS reason
FROM forms;

DROP TABLE forms;

-- high: the greatest min(event time, arrival) so far, of events and control records; what is below high - allowed lateness is late,
-- and so is what is of a time before 1970.
CREATE TABLE heard AS
SELECT judged.*,
    max(CASE WHEN reason IS NULL THEN least(coalesce(control_ms, event_time), arrival) END) OVER (PARTITION BY part ORDER BY off) AS high,
    reason IS NULL AND control_ms IS NULL AND event_time < greatest(high - allowed_lateness, -1) AS is_late,
    id(coalesce(nullif(told_id, ''), 'content ' || content)) AS event_id,
    CASE WHEN coalesce(told_source, '') = '' THEN 'lite' ELSE label(told_source) END AS event_source
FROM judged, settings;

DROP TABLE judged;

-- A duplicate has the source and id of an applied event of the same customer that is not older than the allowed lateness.
-- Nearly every id comes once; the copies are walked in the order of arrival, because a copy of a copy is no original.
CREATE TABLE duplicates AS
WITH RECURSIVE copies AS (
    SELECT part, off, key, event_id, event_source, event_time, high, allowed_lateness,
        row_number() OVER (PARTITION BY part, key, event_source, event_id ORDER BY off) AS n,
        count(*) OVER (PARTITION BY part, key, event_source, event_id) AS copies
    FROM heard, settings
    WHERE reason IS NULL AND control_ms IS NULL AND NOT is_late
), walked AS (
    SELECT part, off, key, event_source, event_id, n, [event_time] AS applied, false AS is_duplicate FROM copies WHERE n = 1 AND copies > 1
    UNION ALL
    SELECT c.part, c.off, c.key, c.event_source, c.event_id, c.n,
        CASE WHEN list_max(w.applied) >= c.high - c.allowed_lateness THEN w.applied ELSE list_append(w.applied, c.event_time) END,
        list_max(w.applied) >= c.high - c.allowed_lateness
    FROM walked w JOIN copies c
        ON c.n = w.n + 1 AND c.part = w.part AND c.key = w.key AND c.event_source = w.event_source AND c.event_id = w.event_id
)
SELECT part, off FROM walked WHERE is_duplicate;

CREATE TABLE records AS
SELECT heard.*,
    CASE WHEN control_ms IS NOT NULL THEN 'ignored'
         WHEN reason IS NOT NULL THEN 'dead_lettered'
         WHEN is_late THEN 'late'
         WHEN (part, off) IN (SELECT (part, off) FROM duplicates) THEN 'duplicate'
         ELSE 'applied' END AS outcome
FROM heard;

DROP TABLE heard;

-- place: the position in event order, by event time and then by offset; what is decided per customer is decided in this order.
CREATE TABLE touchpoints AS
SELECT row_number() OVER (ORDER BY part, off) AS event, part, off, outcome, high, key, event_time AS t,
    coalesce((SELECT name FROM event_types WHERE name = label(told_type)),
             (SELECT name FROM event_types WHERE name = array_to_string(string_split(label(told_type), '.')[-2:], '.')),
             label(told_type)) AS type,
    coalesce((SELECT name FROM channels WHERE name = document ->> '$.channel'), 'other') AS channel,
    dimension(document ->> '$.platform') AS platform, dimension(document ->> '$.segment') AS segment,
    dimension(document ->> '$.region') AS region, dimension(document ->> '$.persona') AS persona,
    dimension(document ->> '$.product_category') AS product_category, dimension(document ->> '$.step') AS step,
    dimension(document ->> '$.journey') AS journey, id(document ->> '$.account_id') AS account_id,
    id(document ->> '$.issue.issue_id') AS issue_id, id(document ->> '$.issue.case_id') AS case_id,
    dimension(document ->> '$.issue.reason') AS reason, dimension(document ->> '$.issue.severity') AS severity,
    (document ->> '$.issue.resolved')::BOOLEAN AS resolved,
    rfc3339_ms(document ->> '$.issue.due_at') AS issue_due, id(document ->> '$.issue.contact_id') AS contact_id,
    dimension(document ->> '$.friction.kind') AS friction_kind, dimension(document ->> '$.friction.code') AS friction_code,
    dimension(document ->> '$.actor.team') AS team, dimension(document ->> '$.actor.owner') AS owner,
    dimension(document ->> '$.actor.initiator') AS initiator,
    dimension(document ->> '$.handoff.from_team') AS from_team, dimension(document ->> '$.handoff.to_team') AS to_team,
    dimension(document ->> '$.handoff.kind') AS handoff_kind,
    dimension(coalesce(nullif(document ->> '$.handoff.partner', ''), document ->> '$.actor.partner')) AS partner,
    CASE json_type(document, '$.handoff.context_passed')
        WHEN 'BOOLEAN' THEN (document ->> '$.handoff.context_passed')::BOOLEAN
        WHEN 'ARRAY' THEN json_array_length(document, '$.handoff.context_passed') > 0 END AS context_passed,
    (document ->> '$.consent.categories.analytics')::BOOLEAN AS analytics,
    -- Money in minor units, half to even; never through a float.
    exponent(document ->> '$.commerce.currency') AS digits,
    fixed(document ->> '$.commerce.revenue', digits) AS revenue_minor,
    MAP {'journey_id': id(document ->> '$.journey_id'), 'checkout_id': id(document ->> '$.commerce.checkout_id'),
         'order_id': id(document ->> '$.commerce.order_id'), 'cart_id': id(document ->> '$.commerce.cart_id'),
         'case_id': id(document ->> '$.issue.case_id'), 'session': id(document ->> '$.session_id')} AS ids,
    coalesce((SELECT name FROM unnest(['need', 'consider', 'demonstrate', 'affirm', 'prove', 'anticipate']) names(name)
              WHERE name = document ->> '$.stage'), '') AS stage,
    coalesce((SELECT name FROM unnest(['functional', 'personal', 'catalytic']) names(name)
              WHERE name = document ->> '$.value_level'), '') AS value_level,
    document AS details
FROM records
WHERE outcome IN ('applied', 'late');

ALTER TABLE records DROP COLUMN document;
ALTER TABLE records DROP COLUMN value;

-- details: what only chapters read; of types that have none it is skipped.
UPDATE touchpoints SET details = NULL WHERE type NOT IN (FROM detailed_types);

CREATE TABLE events AS SELECT *, row_number() OVER (PARTITION BY key ORDER BY t, off) AS place FROM touchpoints WHERE outcome = 'applied';
-- clock: of the partition when it came, at which counts what counts of it.
CREATE TABLE late_events AS
SELECT late.*, greatest(high, idle.clock) AS clock
FROM (FROM touchpoints WHERE outcome = 'late') late
    ASOF LEFT JOIN (SELECT part, after, max(clock) AS clock FROM idle_clocks GROUP BY ALL) idle ON idle.part = late.part AND idle.after < late.off;
