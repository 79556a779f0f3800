-- The events of the days that make no view, each with the reason: broken ones, repeated ones, and one row for all views of
-- a user who is no reader that day.
WITH
-- include: checked_events
,
bots AS (
  SELECT user_id, day, COUNT(*) AS views FROM delivered WHERE event_type = 'view' GROUP BY user_id, day
)
SELECT
  reason, day, event_id, user_id, article_id, event_type, event_time, received_at, region_id, dwell_ms, request_id,
  position, variant, release_id, source, propensity, CAST(NULL AS INT64) AS views
FROM checked
WHERE reason IS NOT NULL
UNION ALL
SELECT
  'event_id is repeated' AS reason, day, event_id, user_id, article_id, event_type, event_time, received_at, region_id,
  dwell_ms, request_id, position, variant, release_id, source, propensity, CAST(NULL AS INT64) AS views
FROM ranked
WHERE delivery > 1
UNION ALL
SELECT
  CONCAT('more than ', CAST(@max_views_per_day AS STRING), ' views of the user on the day') AS reason, day,
  NULL, user_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, views
FROM bots
WHERE views > @max_views_per_day
