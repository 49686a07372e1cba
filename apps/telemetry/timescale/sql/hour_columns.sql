-- True and false count as 1 and 0 (sum / count is the share of time true); texts are only counted.
    count(*) AS count,
    sum(coalesce(value_numeric, value_bool::int)) AS sum,
    sum(coalesce(value_numeric, value_bool::int) * coalesce(value_numeric, value_bool::int)) AS sum_sq,
    min(coalesce(value_numeric, value_bool::int)) AS min,
    max(coalesce(value_numeric, value_bool::int)) AS max,
    first(coalesce(value_numeric, value_bool::int), ts) AS first,
    last(coalesce(value_numeric, value_bool::int), ts) AS last
