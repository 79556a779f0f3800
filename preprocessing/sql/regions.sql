-- Regions by how often they occur, in views and in articles.
SELECT region_id, SUM(occurrences) AS occurrences
FROM (
  SELECT view.region_id AS region_id, COUNT(*) AS occurrences
  FROM ${views} AS days, UNNEST(days.views) AS view
  GROUP BY region_id
  UNION ALL
  SELECT region_id, COUNT(*) AS occurrences FROM ${catalogue} GROUP BY region_id
) AS both_tables
WHERE region_id IS NOT NULL AND region_id != ''
GROUP BY region_id
