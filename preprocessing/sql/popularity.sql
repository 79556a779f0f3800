-- The most viewed articles of each region and over all (region_id null); a view counts half for each day that it is older
-- than the newest one.
WITH view AS (
  SELECT view.article_id AS article_id, NULLIF(view.region_id, '') AS region_id, view.time AS time
  FROM ${views} AS days, UNNEST(days.views) AS view
),
aged AS (
  SELECT article_id, region_id, POW(0.5, (newest.time - view.time) / 86400000000) AS weight
  FROM view CROSS JOIN (SELECT MAX(time) AS time FROM view) AS newest
),
scored AS (
  SELECT region_id, article_id, SUM(weight) AS score FROM aged WHERE region_id IS NOT NULL GROUP BY region_id, article_id
  UNION ALL
  SELECT CAST(NULL AS STRING) AS region_id, article_id, SUM(weight) AS score FROM aged GROUP BY article_id
)
SELECT scored.region_id AS region_id, scored.article_id AS article_id, scored.score AS score
FROM scored JOIN ${catalogue} AS catalogue ON scored.article_id = catalogue.article_id
WHERE catalogue.removed_at IS NULL OR catalogue.removed_at > @until
QUALIFY ROW_NUMBER() OVER (PARTITION BY scored.region_id ORDER BY scored.score DESC, scored.article_id) <= @keep
