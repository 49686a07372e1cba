-- Moves latest values forward in time, and never back, whichever process comes last.
--
-- KEYS[1]  how the key of a series begins
-- KEYS[2]  the key that says that someone asks
-- ARGV[1]  records: series id (u32), length (u32), entry, which begins with ts and received_at (i64, µs)
-- ARGV[2]  empty: entries that are held are moved forward, and live no longer than they would have.
--          a time (ms since 1970): read from the database; entries are held until then.
--
-- Of equal times the one that was received later counts, so that an overwritten reading is seen.
-- µs since 1970 are exact in Lua's numbers until the year 2255.

local function is_older(entry, held)
    if #held == 0 then return false end
    if #entry == 0 then return true end
    local ts, received = struct.unpack('>i8i8', entry)
    local held_ts, held_received = struct.unpack('>i8i8', held)
    return ts < held_ts or (ts == held_ts and received < held_received)
end

local records, ends_at = ARGV[1], ARGV[2]
local is_read = ends_at ~= ''
if is_read then redis.call('SET', KEYS[2], '', 'PXAT', ends_at) end

local place = 1
while place <= #records do
    local series, length = struct.unpack('>I4I4', records, place)
    local entry = string.sub(records, place + 8, place + 7 + length)
    place = place + 8 + length

    local key = KEYS[1] .. string.format('%d', series)
    local held = redis.call('GET', key)
    if is_read and not (held and is_older(entry, held)) then
        redis.call('SET', key, entry, 'PXAT', ends_at)
    elseif not is_read and held and not is_older(entry, held) then
        redis.call('SET', key, entry, 'KEEPTTL')
    end
end
