-- Adds the checked versions of articles that are not there yet: the first received counts.
INSERT INTO articles (
  article_id, updated_at, region_id, category_id, seller_id, title, price, embedding, created_at, removed_at
)
SELECT
  checked.article_id, checked.updated_at, checked.region_id, checked.category_id, checked.seller_id, checked.title,
  checked.price, checked.embedding, checked.created_at, checked.removed_at
FROM ${staging} AS checked
WHERE NOT EXISTS (
  SELECT 1 FROM articles AS present
  WHERE present.article_id = checked.article_id AND present.updated_at = checked.updated_at
)
