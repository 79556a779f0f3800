-- How popular articles were each day, over all (region_id null) and by region: each view counts 0.5 to the power of the days
-- from it to the end of its UTC day, so that days can be kept and added up by halving. In whole units of 2 to the power of
-- -32: sums of floats differ in their last bits with the order of the rows.
WITH view AS (
  SELECT days.day AS day, view.article_id AS article_id, NULLIF(view.region_id, '') AS region_id,
    CAST(ROUND(4294967296 * POW(0.5, ((days.day + 1) * 86400000000 - view.time) / 86400000000)) AS INT64) AS weight
  FROM ${views} AS days, UNNEST(days.views) AS view
  WHERE days.day >= @first_day
)
SELECT day, region_id, article_id, SUM(weight) AS weight FROM view WHERE region_id IS NOT NULL
GROUP BY day, region_id, article_id
UNION ALL
SELECT day, CAST(NULL AS STRING) AS region_id, article_id, SUM(weight) AS weight FROM view GROUP BY day, article_id
