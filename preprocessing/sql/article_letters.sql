-- The versions of articles that break a rule, with the reason.
WITH
-- include: checked_articles
SELECT
  reason, article_id, updated_at, region_id, category_id, seller_id, title, price, embedding, created_at, removed_at
FROM checked
WHERE reason IS NOT NULL
