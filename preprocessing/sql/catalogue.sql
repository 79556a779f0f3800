-- One row an article that was on offer or viewed before the end of the window: its last version of that time, and its views.
-- A viewed article that is absent from the table has nulls.
WITH state AS (
  SELECT article_id, updated_at, region_id, category_id, seller_id, title, price, embedding, created_at, removed_at
  FROM articles
  WHERE updated_at <= @until
  QUALIFY ROW_NUMBER() OVER (PARTITION BY article_id ORDER BY updated_at DESC) = 1
),
viewed AS (
  SELECT view.article_id AS article_id, COUNT(*) AS views
  FROM ${views} AS days, UNNEST(days.views) AS view
  GROUP BY article_id
)
SELECT
  COALESCE(state.article_id, viewed.article_id) AS article_id,
  state.updated_at, state.region_id, state.category_id, state.seller_id, state.title, state.price, state.embedding,
  state.created_at, state.removed_at,
  COALESCE(viewed.views, 0) AS views
FROM state FULL OUTER JOIN viewed ON state.article_id = viewed.article_id
