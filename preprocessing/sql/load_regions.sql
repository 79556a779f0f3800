-- Adds the checked pairs of regions that are not there yet: the first received counts.
INSERT INTO regions (region_id, neighbour_id, distance)
SELECT checked.region_id, checked.neighbour_id, checked.distance
FROM ${staging} AS checked
WHERE NOT EXISTS (
  SELECT 1 FROM regions AS present
  WHERE present.region_id = checked.region_id AND present.neighbour_id = checked.neighbour_id
)
