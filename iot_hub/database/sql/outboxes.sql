-- What waits to be done, and since when. On a healthy hub it is little, and young.
SELECT 'watched_batches' AS outbox, count(*) AS waiting, min(created_at) AS oldest FROM watched_batches WHERE error = ''
UNION ALL
SELECT 'watched_batches with an error', count(*), min(created_at) FROM watched_batches WHERE error <> ''
UNION ALL
SELECT 'undispatched_events', count(*), min(created_at) FROM events WHERE dispatched_at IS NULL
UNION ALL
SELECT 'due_deliveries', count(*), min(next_attempt_at) FROM notification_deliveries WHERE status = 'pending' AND next_attempt_at <= now()
