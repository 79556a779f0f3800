-- The versions of articles of before @until, each with the first rule it breaks (null: none).
checked AS (
  SELECT
    article_id, updated_at, region_id, category_id, seller_id, title, price, embedding, created_at, removed_at,
    CASE
      WHEN COALESCE(article_id, '') = '' THEN 'article_id is missing'
      WHEN updated_at IS NULL THEN 'updated_at is missing'
      WHEN created_at IS NULL THEN 'created_at is missing'
      WHEN REGEXP_CONTAINS(article_id, r'[\p{Cc}\p{Zl}\p{Zp}]') THEN 'article_id holds control characters'
      WHEN REGEXP_CONTAINS(region_id, r'[\p{Cc}\p{Zl}\p{Zp}]') THEN 'region_id holds control characters'
      WHEN REGEXP_CONTAINS(category_id, r'[\p{Cc}\p{Zl}\p{Zp}]') THEN 'category_id holds control characters'
      WHEN IS_NAN(price) OR IS_INF(price) OR price < 0 THEN 'price not finite or below 0'
      WHEN EXISTS (SELECT 1 FROM UNNEST(embedding) AS number WHERE IS_NAN(number) OR IS_INF(number))
        THEN 'embedding not finite'
      WHEN removed_at <= created_at THEN 'removed_at not after created_at'
    END AS reason
  FROM articles
  WHERE updated_at IS NULL OR updated_at < @until
)
