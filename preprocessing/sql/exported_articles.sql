-- The good versions of articles of before @until. Logs that were written afterwards know of removals to come.
WITH
-- include: checked_articles
SELECT
  article_id, updated_at, region_id, category_id, seller_id, title, price, embedding, created_at,
  IF(removed_at < @until, removed_at, NULL) AS removed_at
FROM checked
WHERE reason IS NULL
