-- Each article as it was at @until: its last good version of before, of articles that existed by then.
WITH
-- include: checked_articles
SELECT
  article_id, updated_at, region_id, category_id, seller_id, title, price, embedding, created_at,
  -- Logs that were written afterwards know of removals to come.
  IF(removed_at < @until, removed_at, NULL) AS removed_at
FROM checked
WHERE reason IS NULL AND created_at < @until
QUALIFY ROW_NUMBER() OVER (
  PARTITION BY article_id
  -- Of versions of one instant the same one each time, whatever the order of the rows.
  ORDER BY
    updated_at DESC, created_at DESC, removed_at DESC, region_id, category_id, seller_id, title, price,
    TO_JSON_STRING(embedding)
) = 1
