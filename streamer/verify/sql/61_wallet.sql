-- Share of wallet. Definitions: docs/reference/chapters/commerce.md (Share of wallet).
-- In: events, chapter_settings. Out: chapter_changes, facts.

-- A share in ten-thousandths, halves up.
CREATE MACRO ten_thousandths(part, whole) AS ((20000 * part::HUGEINT + whole) // (2 * whole::HUGEINT))::BIGINT;

CREATE TABLE wallet_answers AS
SELECT *, lead(t) OVER later AS answered_again, lead(place) OVER later AS again_place
FROM (
    SELECT event, key, t, place, 'DECLARED' AS kind, ten_thousandths(own, own + competitors) AS share
    FROM (
        SELECT *, fixed(details ->> '$.wallet.own', digits) AS own, fixed(details ->> '$.wallet.competitors', digits) AS competitors
        FROM events WHERE type = 'wallet.declared'
    )
    WHERE own >= 0 AND competitors >= 0 AND own + competitors > 0
    UNION ALL
    SELECT event, key, t, place, 'RANKED', ten_thousandths(2 * (brands + 1 - place_of_ours), brands * (brands + 1))
    FROM (
        SELECT *, (details ->> '$.survey.brands')::HUGEINT AS brands, (details ->> '$.survey.rank')::HUGEINT AS place_of_ours
        FROM events WHERE type = 'survey.responded'
    )
    WHERE brands BETWEEN 1 AND 100 AND place_of_ours BETWEEN 1 AND brands
)
WINDOW later AS (PARTITION BY key, kind ORDER BY place);

INSERT INTO chapter_changes
SELECT counter, n, t, event, NULL
FROM wallet_answers, (
    VALUES ('WALLETS_', 0), ('WALLET_', 1), ('WALLET_', 2)
) AS parts (prefix, power), LATERAL (
    SELECT prefix || kind || CASE power WHEN 2 THEN '_SQUARES' ELSE '' END AS counter, CASE power WHEN 0 THEN 1 WHEN 1 THEN share ELSE share * share END AS n
)
WHERE answered_again IS NULL OR answered_again - t >= setting('wallet', 'latest_within')::BIGINT;

-- What a customer says himself goes before what his ranking says: entity_signals.sql.
INSERT INTO facts
SELECT key, 'share ' || lower(kind), share / 10000, at_event(t, place),
    least(at_event(answered_again, again_place), at_deadline(t + setting('wallet', 'latest_within')::BIGINT))
FROM wallet_answers;
