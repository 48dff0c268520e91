-- The counters' sums per pane of 10 seconds and cell. A counter carries the dimensions of its family; the others are empty.
-- What rules on accounts look at carries the account of its event, too.
-- In: changes, chapter_changes, events, families, used_dimensions. Out: sums.

CREATE TABLE sums AS
SELECT counter, cell, t // 10000 AS pane, sum(n)::BIGINT AS n, coalesce(sum(n) FILTER (is_decided), 0)::BIGINT AS n_decided
FROM (
    SELECT counter, changes.t, n, is_decided,
        list_transform(used_dimensions, lambda name: CASE WHEN list_contains(dimensions, name) THEN MAP {
            'journey': coalesce(nullif(changes.journey, ''), CASE family WHEN 'contact' THEN events.journey ELSE '' END),
            'channel': channel, 'segment': segment, 'persona': persona, 'product_category': product_category,
            'team': coalesce(nullif(changes.team, ''), CASE family WHEN 'contact' THEN events.team ELSE '' END),
            'partner': partner, 'region': region, 'platform': platform, 'account': account_id}[name] ELSE '' END) AS cell
    FROM (SELECT *, true AS is_decided FROM changes UNION ALL SELECT *, false FROM undecided_changes) changes
        JOIN events USING (event) JOIN families USING (counter), settings
    UNION ALL
    SELECT counter, changes.t, n, is_decided,
        list_transform(used_dimensions, lambda name: coalesce(own[name], MAP {
            'account': CASE WHEN list_contains(dimensions, 'account') THEN account_id END,
            'journey': journey, 'channel': channel, 'stage': stage, 'step': step, 'segment': segment, 'persona': persona,
            'product_category': product_category, 'team': team, 'partner': partner, 'region': region, 'platform': platform}[name], ''))
    FROM (SELECT *, true AS is_decided FROM chapter_changes UNION ALL SELECT *, false FROM undecided_chapter_changes) changes
        JOIN events USING (event) JOIN families USING (counter), settings
)
GROUP BY ALL
HAVING sum(n) <> 0 OR n_decided <> 0;
