-- One row a user and UTC day of @first_day to @last_day: the views of that day in order (event_time, event_id), consecutive
-- repeats of an article collapsed. A row depends on the events of its own day alone, and on the end of each view.
WITH
-- include: checked_events
,
ended AS (
  -- The end of a view carries its dwell time: it is the next event of the same user and article, if that is of the same
  -- day or the next.
  SELECT
    event_id, user_id, article_id, event_type, event_time, region_id, day,
    COALESCE(
      dwell_ms,
      IF(LEAD(event_type) OVER visit = 'leave' AND LEAD(day) OVER visit <= day + 1, LEAD(dwell_ms) OVER visit, NULL)
    ) AS dwell_ms
  FROM delivered
  WHERE event_type IN ('view', 'leave')
  WINDOW visit AS (PARTITION BY user_id, article_id ORDER BY event_time, event_id)
),
counted AS (
  SELECT
    event_id, user_id, article_id, event_time, region_id, day, dwell_ms,
    COUNT(*) OVER (PARTITION BY user_id, day) AS views_of_day,
    LAG(article_id) OVER (PARTITION BY user_id, day ORDER BY event_time, event_id) AS previous_article_id
  FROM ended
  WHERE event_type = 'view' AND day BETWEEN @first_day AND @last_day
),
grouped AS (
  SELECT
    user_id, day,
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
),
keyed AS (
  SELECT FARM_FINGERPRINT(user_id) AS user_key, day, views FROM grouped
)
SELECT user_key, day, MOD(MOD(user_key, @buckets) + @buckets, @buckets) AS bucket, views FROM keyed
