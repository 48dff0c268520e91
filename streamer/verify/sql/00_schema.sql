-- What the recount starts from: the raw log, record by record, and the definitions as tables.

CREATE TABLE raw (
    part INTEGER, off BIGINT,
    arrival BIGINT,                  -- the broker's timestamp, milliseconds since the epoch
    key VARCHAR, value JSON,         -- value: NULL if it is not JSON
    size BIGINT,                     -- of the value as it came, bytes
    content VARCHAR,                 -- a digest of the value's content: what stands in for a missing id
    ce_type VARCHAR, ce_time VARCHAR, ce_id VARCHAR, ce_source VARCHAR,   -- headers of a CloudEvent in binary mode
    control_ms BIGINT                -- the time of a control record
);

CREATE TABLE settings (
    clock BIGINT,                    -- the greatest of `ends`
    decided BIGINT,                  -- the last second that is over then; windows are as of it if the whole log is compared
    range_from BIGINT, range_to BIGINT,  -- of a part of it: both NULL if the whole is, range_from if it has no begin of its own
    windows_at BIGINT,               -- the second that windows are as of
    allowed_lateness BIGINT, scope VARCHAR, contact_window BIGINT, repeat_within BIGINT,
    switch_within BIGINT, switch_burst BIGINT, routing VARCHAR[],
    medium_tenths BIGINT, high_tenths BIGINT,
    cases_journey VARCHAR, owner_fields VARCHAR[], retention BIGINT,
    used_dimensions VARCHAR[]        -- that any slice breaks down by
);

-- Time: the clock of each partition at the end of the log; and what the journal says of it: after which offset it was what.
CREATE TABLE ends (part INTEGER, clock BIGINT);
CREATE TABLE idle_clocks (part INTEGER, after BIGINT, clock BIGINT);

CREATE TABLE event_types (name VARCHAR);
CREATE TABLE detailed_types (name VARCHAR);
CREATE TABLE channels (name VARCHAR);
CREATE TABLE journeys (
    journey_no INTEGER, journey VARCHAR, deadline BIGINT, recoverable_for BIGINT, id_names VARCHAR[],
    named_steps VARCHAR[], stall_after BIGINT
);
CREATE TABLE role_patterns (journey_no INTEGER, precedence INTEGER, role VARCHAR, pattern VARCHAR);
CREATE TABLE kind_patterns (kind VARCHAR, pattern VARCHAR);
CREATE TABLE channel_groups (channel VARCHAR, grp VARCHAR);
CREATE TABLE weights (kind VARCHAR, weight_tenths BIGINT);
CREATE TABLE families (counter VARCHAR, family VARCHAR, dimensions VARCHAR[]);
CREATE TABLE slices (slice_no INTEGER, names VARCHAR[]);
CREATE TABLE windows (name VARCHAR, width BIGINT);
CREATE TABLE metric_parts (
    metric VARCHAR, kind VARCHAR, scale BIGINT, part VARCHAR, counter VARCHAR,
    quantile DOUBLE, bucket INTEGER, lower_edge DOUBLE, upper_edge DOUBLE,  -- of a histogram; the last bucket has no upper edge
    worth BIGINT                     -- of one of the counter
);
-- Sequences and absences: of each how many events it has, the id that they share ('' if none), spans; and the types that it names: nth is
-- the place of an event, 0 of what must not follow (absence: for so long; 0 if nothing is said).
CREATE TABLE patterns (pattern VARCHAR, same VARCHAR, events BIGINT, within BIGINT, absence BIGINT, counts_for BIGINT);
CREATE TABLE pattern_types (pattern VARCHAR, nth BIGINT, name VARCHAR);
-- Types of events after which rules on customers are looked at that name a signal of a chapter, or a pattern.
CREATE TABLE looks (part VARCHAR, pattern VARCHAR);
-- The settings of the chapters that are on, as text; durations in milliseconds, tables as JSON.
CREATE TABLE chapter_settings (chapter VARCHAR, name VARCHAR, value VARCHAR);
CREATE MACRO setting(of_chapter, of_name) AS (SELECT value FROM chapter_settings WHERE chapter = of_chapter AND name = of_name);
-- Types that a chapter may find to be friction.
CREATE TABLE chapter_friction_types (name VARCHAR);

-- What holds of a customer from one moment (it included) until another (it not): of the facts that hold at a time entity_signals.sql
-- makes the signals of rules. A chapter that is off says nothing.
CREATE TABLE facts (
    key VARCHAR, fact VARCHAR, amount DOUBLE,
    since STRUCT(t BIGINT, phase INTEGER, place BIGINT), until STRUCT(t BIGINT, phase INTEGER, place BIGINT)
);

-- Moments of a customer in their order: at one time his deadlines come before his events, and those of abandonment before all others.
-- What an event makes overdue at once comes after it, and before the next one.
CREATE MACRO at_phase(t, phase, place) AS
    CASE WHEN t IS NOT NULL THEN {'t': t::BIGINT, 'phase': phase::INTEGER, 'place': place::BIGINT} END;
CREATE MACRO at_abandonment(t) AS at_phase(t, 0, 0);
CREATE MACRO at_deadline(t) AS at_phase(t, 4, 0);
CREATE MACRO at_event(t, place) AS at_phase(t, 5, 2 * place);
CREATE MACRO after_event(t, place) AS at_phase(t, 5, 2 * place + 1);
