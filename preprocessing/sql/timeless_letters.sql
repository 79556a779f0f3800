-- Events without a time belong to no day: they are told again with each dataset, once they were received.
SELECT
  'event_time is missing' AS reason, CAST(NULL AS INT64) AS day, event_id, user_id, article_id, event_type, event_time,
  received_at, region_id, dwell_ms, request_id, position, variant, release_id, source, propensity,
  CAST(NULL AS INT64) AS views
FROM events
WHERE event_time IS NULL AND (received_at IS NULL OR received_at < @until)
  AND (user_id IS NULL OR user_id NOT IN (SELECT user_id FROM forgotten_users WHERE user_id IS NOT NULL))
