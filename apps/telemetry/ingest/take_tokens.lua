-- Takes tokens from several buckets in one round trip: from all of them, or from none. See buckets.py.
-- KEYS: the buckets; each holds the time at which it will be full, and is gone when it is.
-- ARGV: the time in seconds ('' for this server's, which is the same for everybody), BURST_SECONDS, WHOLE,
-- LEASE_PART, LEASE_SECONDS; then for each bucket tokens per minute and need.
-- Returns 1 and the tokens granted by each, or 0 and the µs that each has to wait.

local now, burst, whole = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local part, seconds = tonumber(ARGV[4]), tonumber(ARGV[5])
if not now then
  local clock = redis.call('TIME')
  now = clock[1] + clock[2] / 1e6
end

local full_at, left, rate, in_debt = {}, {}, {}, false
local waits = {0}
for i, key in ipairs(KEYS) do
  rate[i] = tonumber(ARGV[4 + 2 * i]) / 60
  full_at[i] = math.max(now, tonumber(redis.call('GET', key) or now))
  left[i] = (now + burst - full_at[i]) * rate[i]
  waits[i + 1] = 0
  if left[i] < whole then
    in_debt = true
    waits[i + 1] = math.ceil((1 - left[i]) / rate[i] * 1e6)
  end
end
if in_debt then
  return waits
end

local grants = {1}
for i, key in ipairs(KEYS) do
  local need = tonumber(ARGV[5 + 2 * i])
  local lease = math.min(math.max(left[i] / part, rate[i] * seconds), left[i] - need)
  local granted = need + math.max(0, math.floor(lease))
  full_at[i] = full_at[i] + granted / rate[i]
  local lifetime = math.ceil((full_at[i] - now) * 1000) + 1
  redis.call('SET', key, string.format('%.6f', full_at[i]), 'PX', string.format('%d', lifetime))
  grants[i + 1] = granted
end
return grants
