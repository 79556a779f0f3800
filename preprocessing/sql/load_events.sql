-- Adds the checked events whose event_id is not there yet: the first received counts.
INSERT INTO events (
  event_id, user_id, article_id, event_type, event_time, received_at, region_id, dwell_ms,
  request_id, position, variant, release_id, source, propensity
)
SELECT
  checked.event_id, checked.user_id, checked.article_id, checked.event_type, checked.event_time, checked.received_at,
  checked.region_id, checked.dwell_ms, checked.request_id, checked.position, checked.variant, checked.release_id,
  checked.source, checked.propensity
FROM ${staging} AS checked
WHERE NOT EXISTS (SELECT 1 FROM events AS present WHERE present.event_id = checked.event_id)
