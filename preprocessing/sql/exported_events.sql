-- The good events of @read_from to @read_until, each once: of rows with one id on one UTC day the first received.
WITH
-- include: checked_events
SELECT
  event_id, user_id, article_id, event_type, event_time, received_at, region_id, dwell_ms, request_id, position,
  variant, release_id, source, propensity
FROM checked
WHERE reason IS NULL
QUALIFY ROW_NUMBER() OVER (
  PARTITION BY event_id, day
  -- Of rows received together the same one each time, whatever their order.
  ORDER BY
    received_at, event_time, user_id, article_id, event_type, region_id, dwell_ms, request_id, position, variant,
    release_id, source, propensity
) = 1
