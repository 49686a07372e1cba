-- A day out of its hours.
    sum(count)::bigint AS count,
    sum(sum) AS sum,
    sum(sum_sq) AS sum_sq,
    min(min) AS min,
    max(max) AS max,
    first(first, hours.bucket) AS first,
    last(last, hours.bucket) AS last
