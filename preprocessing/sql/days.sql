-- What the log holds of each UTC day of the window; rows of people who asked to be forgotten do not count, so that their
-- days are made anew.
WITH forgotten AS (
  SELECT user_id, MAX(forgotten_at) AS forgotten_at FROM forgotten_users GROUP BY user_id
)
SELECT
  UNIX_DATE(DATE(events.event_time)) AS day,
  COUNT(*) AS row_count,
  COUNTIF(events.event_type = 'view') AS views,
  BIT_XOR(UNIX_MICROS(events.event_time)) AS digest
FROM events LEFT JOIN forgotten ON events.user_id = forgotten.user_id
WHERE events.event_time >= @start AND events.event_time < @until
  AND (forgotten.forgotten_at IS NULL OR events.event_time > forgotten.forgotten_at)
GROUP BY day
ORDER BY day
