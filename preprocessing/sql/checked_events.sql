-- The events of [@read_from, @read_until), each with the first rule it breaks (null: none), without what people who asked to
-- be forgotten did until then.
forgotten AS (
  SELECT user_id, MAX(forgotten_at) AS forgotten_at FROM forgotten_users GROUP BY user_id
),
checked AS (
  SELECT
    events.event_id, events.user_id, events.article_id, events.event_type, events.event_time, events.received_at,
    events.region_id, events.dwell_ms, events.request_id, events.position, events.variant, events.release_id,
    events.source, events.propensity, UNIX_DATE(DATE(events.event_time)) AS day,
    CASE
      WHEN COALESCE(events.event_id, '') = '' THEN 'event_id is missing'
      WHEN COALESCE(events.user_id, '') = '' THEN 'user_id is missing'
      WHEN COALESCE(events.article_id, '') = '' THEN 'article_id is missing'
      WHEN REGEXP_CONTAINS(events.article_id, r'[\p{Cc}\p{Zl}\p{Zp}]') THEN 'article_id holds control characters'
      WHEN REGEXP_CONTAINS(events.region_id, r'[\p{Cc}\p{Zl}\p{Zp}]') THEN 'region_id holds control characters'
      WHEN COALESCE(events.event_type, '') = '' THEN 'event_type is missing'
      WHEN events.event_type NOT IN UNNEST(@event_types) THEN 'event_type is unknown'
      WHEN UNIX_MICROS(events.event_time) - UNIX_MICROS(events.received_at) > 300000000
        THEN 'event_time more than 5 minutes after received_at'
      WHEN events.dwell_ms < 0 OR events.dwell_ms > 86400000 THEN 'dwell_ms outside 0 to 86400000'
    END AS reason
  FROM events LEFT JOIN forgotten ON events.user_id = forgotten.user_id
  WHERE events.event_time >= @read_from AND events.event_time < @read_until
    AND (forgotten.forgotten_at IS NULL OR events.event_time > forgotten.forgotten_at)
),
-- Delivery is at least once. Of rows with one id on one UTC day the first received counts; imported logs have no time of
-- receipt. A day depends on its own rows alone, so that it can be kept.
repeated AS (
  SELECT event_id, day FROM checked WHERE reason IS NULL GROUP BY event_id, day HAVING COUNT(*) > 1
),
ranked AS (
  SELECT
    checked.event_id, checked.user_id, checked.article_id, checked.event_type, checked.event_time, checked.received_at,
    checked.region_id, checked.dwell_ms, checked.request_id, checked.position, checked.variant, checked.release_id,
    checked.source, checked.propensity, checked.day,
    ROW_NUMBER() OVER (
      PARTITION BY checked.event_id, checked.day
      ORDER BY
        checked.received_at, checked.event_time, checked.user_id, checked.article_id, checked.event_type,
        checked.region_id, checked.dwell_ms, checked.request_id, checked.position, checked.variant,
        checked.release_id, checked.source, checked.propensity
    ) AS delivery
  FROM checked JOIN repeated ON checked.event_id = repeated.event_id AND checked.day = repeated.day
  WHERE checked.reason IS NULL
),
delivered AS (
  SELECT
    checked.event_id, checked.user_id, checked.article_id, checked.event_type, checked.event_time, checked.region_id,
    checked.dwell_ms, checked.day
  FROM checked LEFT JOIN repeated ON checked.event_id = repeated.event_id AND checked.day = repeated.day
  WHERE checked.reason IS NULL AND repeated.event_id IS NULL
  UNION ALL
  SELECT event_id, user_id, article_id, event_type, event_time, region_id, dwell_ms, day
  FROM ranked
  WHERE delivery = 1
)
