-- Metrics: functions of the counters' sums in a window. Definitions: docs/reference/metrics.md.
-- In:  sums, slices, windows, metric_parts, settings. Out: metrics (one row per metric, slice, values and window that has a sample).

-- A slice applies to a counter that carries all its dimensions, and to a cell that has a value in each.
CREATE TABLE slice_sums AS
SELECT slice_no, list_transform(names, lambda name: cell[list_position(used_dimensions, name)]) AS label_values, counter, pane,
    sum(n_decided) AS n
FROM sums JOIN families USING (counter), slices, settings
WHERE list_has_all(dimensions, names) AND NOT list_contains(label_values, '')
GROUP BY ALL;

-- Window W at t covers the panes that start in (floor(t) - W, floor(t)], floor to 10 s for windows up to 1 h, 5 min up to 24 h, 1 h up
-- to 28 d, 1 day beyond; panes are merged to that width. `lifetime` (no width) is the sum of everything.
CREATE TABLE windowed AS
SELECT slice_no, label_values, counter, name AS "window", sum(n) AS n
FROM slice_sums, (
    SELECT *, CASE WHEN width <= 3600000 THEN 10000 WHEN width <= 24 * 3600000 THEN 300000
                   WHEN width <= 28 * 24 * 3600000::BIGINT THEN 3600000 ELSE 24 * 3600000 END AS g
    FROM windows
), settings
WHERE width IS NULL
    OR ((pane * 10000) // g * g > decided // g * g - width AND (pane * 10000) // g * g <= decided // g * g)
GROUP BY ALL;

CREATE TABLE metrics AS
WITH parts AS (
    SELECT metric, kind, scale, slice_no, label_values, "window",
        sum(n) FILTER (part = 'numerator') AS k, coalesce(sum(n) FILTER (part = 'denominator'), 0) AS denominator,
        coalesce(sum(n) FILTER (part = 'squares'), 0) AS squares
    FROM windowed JOIN metric_parts USING (counter)
    WHERE kind <> 'stock' OR "window" = 'lifetime'
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
SELECT metric, slice_no, label_values, "window", k::BIGINT AS k, n::BIGINT AS n,
    CASE WHEN kind IN ('count', 'stock') THEN k::DOUBLE WHEN denominator > 0 THEN k::DOUBLE / denominator / scale END AS "value",
    -- Wilson's score interval of a ratio, the normal one of a mean; 95 %.
    CASE WHEN kind = 'ratio' AND n > 0 THEN
            [(p + z * z / (2 * n) - half) / (1 + z * z / n), (p + z * z / (2 * n) + half) / (1 + z * z / n)]
         WHEN kind = 'mean' AND n > 1 THEN
            [(k::DOUBLE / n - z * sqrt(greatest(0, n * squares - k * k)::DOUBLE / (n * (n - 1)) / n)) / scale,
             (k::DOUBLE / n + z * sqrt(greatest(0, n * squares - k * k)::DOUBLE / (n * (n - 1)) / n)) / scale]
    END AS bounds
FROM samples
WHERE k <> 0 OR n <> 0;
