-- One row a user and UTC day: the views of that day in order (event_time, event_id), consecutive repeats of an article
-- collapsed. A row depends on the events of its own day alone (and on the end of each view), so that days can be kept.
WITH received AS (
  SELECT event_id, user_id, article_id, event_type, event_time, region_id, dwell_ms
  FROM events
  WHERE event_time >= @start AND event_time < @until AND event_type IN ('view', 'leave')
  -- Events may repeat; the first received counts. Imported logs have no time of receipt.
  QUALIFY ROW_NUMBER() OVER (PARTITION BY event_id ORDER BY received_at, event_time) = 1
),
ended AS (
  -- The end of a view carries its dwell time: it is the next event of the same user and article.
  SELECT
    event_id, user_id, article_id, event_type, event_time, region_id, DATE(event_time) AS day,
    COALESCE(
      dwell_ms,
      IF(LEAD(event_type) OVER visit = 'leave', LEAD(dwell_ms) OVER visit, NULL)
    ) AS dwell_ms
  FROM received
  WINDOW visit AS (PARTITION BY user_id, article_id ORDER BY event_time, event_id)
),
counted AS (
  SELECT
    event_id, user_id, article_id, event_time, region_id, day, dwell_ms,
    COUNT(*) OVER (PARTITION BY user_id, day) AS views_of_day,
    LAG(article_id) OVER (PARTITION BY user_id, day ORDER BY event_time, event_id) AS previous_article_id
  FROM ended
  WHERE event_type = 'view'
)
SELECT
  user_id,
  FARM_FINGERPRINT(user_id) AS user_key,
  UNIX_DATE(day) AS day,
  MOD(MOD(FARM_FINGERPRINT(user_id), @buckets) + @buckets, @buckets) AS bucket,
  ARRAY_AGG(
    STRUCT(
      article_id AS article_id,
      COALESCE(region_id, '') AS region_id,
      UNIX_MICROS(event_time) AS time,
      COALESCE(dwell_ms, -1) AS dwell_ms
    )
    ORDER BY event_time, event_id
  ) AS views
FROM counted
-- A user who views more than that in a day is no reader: the day is left out.
WHERE views_of_day <= @max_views_per_day
  AND (previous_article_id IS NULL OR previous_article_id != article_id)
GROUP BY user_id, day
