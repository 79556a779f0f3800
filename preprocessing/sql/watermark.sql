-- What the tables beside the events hold that a dataset depends on; equal rows give equal numbers in any order.
SELECT 'articles' AS table_name, COUNT(*) AS row_count, COALESCE(BIT_XOR(UNIX_MICROS(updated_at)), 0) AS digest
FROM articles
WHERE updated_at IS NULL OR updated_at < @until
UNION ALL
SELECT 'forgotten_users', COUNT(*), COALESCE(BIT_XOR(UNIX_MICROS(forgotten_at)), 0) FROM forgotten_users
UNION ALL
SELECT
  'regions',
  COUNT(*),
  COALESCE(BIT_XOR(FARM_FINGERPRINT(CONCAT(region_id, '\n', neighbour_id, '\n', CAST(distance AS STRING)))), 0)
FROM regions
UNION ALL
SELECT 'events without a time', COUNT(*), 0
FROM events
WHERE event_time IS NULL AND (received_at IS NULL OR received_at < @until)
