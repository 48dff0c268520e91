-- Friction of journey instances. Definitions: docs/reference/journeys.md (Friction).
-- In: friction, named, instances. Out: changes.

-- Each journey instance that a signal names by an id, once, in the pane of its start.
INSERT INTO changes
SELECT DISTINCT 'FRICTION_INSTANCES', 1, begun, begun_by, journey, ''
FROM friction
    JOIN named USING (event)
    JOIN instances ON instances.key = named.key AND instances.journey_no = named.journey_no AND instance = named_after
    JOIN journeys ON journeys.journey_no = named.journey_no;
