-- Metrics: functions of the counters' sums in a window. Definitions: docs/reference/metrics.md.
-- In:  sums, slices, windows, metric_parts, settings. Out: metrics (one row per metric, slice, values and window that has a sample).

-- A slice applies to a counter that carries all its dimensions, and to a cell that has a value in each. In a part of the log windows are
-- of the panes that start before its end, as they are once the whole log is known.
CREATE TABLE slice_sums AS
SELECT slice_no, list_transform(names, lambda name: cell[list_position(used_dimensions, name)]) AS label_values, counter, pane,
    sum(CASE WHEN range_to IS NULL THEN n_decided ELSE n END) AS n
FROM sums JOIN families USING (counter), slices, settings
WHERE list_has_all(dimensions, names) AND NOT list_contains(label_values, '') AND coalesce(pane * 10000 < range_to, true)
GROUP BY ALL;

-- Window W at t covers the panes that start in (floor(t) - W, floor(t)], floor to 10 s for windows up to 1 h, 5 min up to 24 h, 1 h up
-- to 28 d, 1 day beyond; panes are merged to that width. `lifetime` (no width) is the sum of everything,
-- `range` that of the part's panes.
CREATE TABLE windowed AS
SELECT slice_no, label_values, counter, name AS "window", sum(n) AS n
FROM slice_sums, (
    SELECT *, CASE WHEN width <= 3600000 THEN 10000 WHEN width <= 24 * 3600000 THEN 300000
                   WHEN width <= 28 * 24 * 3600000::BIGINT THEN 3600000 ELSE 24 * 3600000 END AS g
    FROM windows
), settings
WHERE width IS NULL
    OR ((pane * 10000) // g * g > windows_at // g * g - width AND (pane * 10000) // g * g <= windows_at // g * g)
GROUP BY ALL
UNION ALL
SELECT slice_no, label_values, counter, 'range', sum(n)
FROM slice_sums, settings
WHERE pane * 10000 >= range_from
GROUP BY ALL;

CREATE TABLE metrics AS
WITH parts AS (
    SELECT metric, kind, scale, slice_no, label_values, "window",
        sum(n) FILTER (part = 'numerator') AS k, coalesce(sum(n) FILTER (part = 'denominator'), 0) AS denominator,
        coalesce(sum(n * worth) FILTER (part = 'squares'), 0) AS squares, coalesce(sum(n) FILTER (part = 'minus'), 0) AS minus,
        sum(n) FILTER (part = 'sample') AS sample
    FROM windowed JOIN metric_parts USING (counter)
    WHERE kind <> 'quantile' AND (kind <> 'stock' OR "window" = 'lifetime')
    GROUP BY ALL
), samples AS (
    SELECT * REPLACE (coalesce(k, 0) AS k),
        CASE WHEN kind IN ('count', 'stock') THEN coalesce(k, 0)
             WHEN kind = 'odds' THEN coalesce(k, 0) + denominator ELSE denominator END AS n,
        1.959963984540054 AS z,
        -- Of a ratio.
        CASE WHEN kind = 'ratio' AND n > 0 THEN coalesce(k, 0)::DOUBLE / n END AS p,
        z * sqrt(p * (1 - p) / n + z * z / (4.0 * n * n)) AS half
    FROM parts
)
SELECT metric, slice_no, label_values, "window", (k - minus)::BIGINT AS k,
    -- Of a weighted mean the denominator is a sum of weights, and the sample is counted by itself.
    CASE WHEN metric IN (SELECT metric FROM metric_parts WHERE part = 'sample') THEN coalesce(sample, 0) ELSE n END::BIGINT AS n,
    CASE WHEN kind IN ('count', 'stock') THEN k::DOUBLE / scale
         WHEN kind = 'difference' AND denominator > 0 THEN (k - minus)::DOUBLE / denominator * scale
         WHEN denominator > 0 THEN k::DOUBLE / denominator / scale END AS "value",
    -- Wilson's score interval of a ratio, the normal one of a mean and of the difference of two shares; 95 %.
    CASE WHEN kind = 'ratio' AND n > 0 THEN
            [(p + z * z / (2 * n) - half) / (1 + z * z / n), (p + z * z / (2 * n) + half) / (1 + z * z / n)]
         WHEN kind = 'mean' AND n > 1 AND metric IN (SELECT metric FROM metric_parts WHERE part = 'squares') THEN
            [(k::DOUBLE / n - z * sqrt(greatest(0, n * squares - k * k)::DOUBLE / (n * (n - 1)) / n)) / scale,
             (k::DOUBLE / n + z * sqrt(greatest(0, n * squares - k * k)::DOUBLE / (n * (n - 1)) / n)) / scale]
         WHEN kind = 'difference' AND n > 0 THEN
            [greatest(-1, net - spread) * scale, least(1, net + spread) * scale]
    END AS bounds
FROM (
    SELECT *, (k - minus)::DOUBLE / nullif(n, 0) AS net, z * sqrt(greatest(0, (k + minus)::DOUBLE / nullif(n, 0) - net * net) / n) AS spread
    FROM samples
)
WHERE k <> 0 OR n <> 0 OR minus <> 0;

-- Quantiles: the value of the rank q * n, interpolated within its bucket, and of the ranks between which it lies at 95 %.
CREATE TABLE filled AS
SELECT *, sum(n) OVER upwards AS up_to, up_to - n AS below, sum(n) OVER (PARTITION BY metric, slice_no, label_values, "window") AS all_n
FROM (
    SELECT metric, slice_no, label_values, "window", bucket, lower_edge, upper_edge, quantile, sum(n) AS n
    FROM windowed JOIN metric_parts USING (counter) WHERE kind = 'quantile' GROUP BY ALL
)
WINDOW upwards AS (PARTITION BY metric, slice_no, label_values, "window" ORDER BY bucket);

INSERT INTO metrics
WITH ranks AS (
    SELECT DISTINCT metric, slice_no, label_values, "window", all_n, quantile * all_n AS middle,
        1.959963984540054 * sqrt(all_n * quantile * (1 - quantile)) AS half,
        unnest([middle, greatest(0, middle - half), least(all_n, middle + half)]) AS rank, unnest(['value', 'lower', 'upper']) AS which
    FROM filled WHERE all_n > 0
), found AS (
    SELECT metric, slice_no, label_values, "window", all_n, which, any_value(point) AS point
    FROM (
        SELECT r.*, coalesce(f.lower_edge + (f.upper_edge - f.lower_edge) * greatest(0, r.rank - f.below) / f.n, f.lower_edge) AS point
        FROM ranks r JOIN filled f USING (metric, slice_no, label_values, "window")
        WHERE f.n > 0 AND f.up_to >= r.rank
        QUALIFY f.bucket = min(f.bucket) OVER (PARTITION BY metric, slice_no, label_values, "window", which)
    )
    GROUP BY ALL
)
SELECT metric, slice_no, label_values, "window", all_n::BIGINT, all_n::BIGINT, any_value(point) FILTER (which = 'value'),
    [any_value(point) FILTER (which = 'lower'), any_value(point) FILTER (which = 'upper')]
FROM found
GROUP BY ALL;
