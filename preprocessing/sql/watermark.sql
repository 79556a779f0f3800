-- What the append-only tables hold before the end of the window; equal rows give equal numbers in any order.
SELECT 'events' AS table_name, COUNT(*) AS row_count, COALESCE(BIT_XOR(UNIX_MICROS(event_time)), 0) AS digest
FROM events
WHERE event_time < @until
UNION ALL
SELECT 'articles', COUNT(*), COALESCE(BIT_XOR(UNIX_MICROS(updated_at)), 0)
FROM articles
WHERE updated_at <= @until
