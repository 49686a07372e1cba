-- Single messages for wrk: devices in turn, times that go forward, no message twice.
-- Arguments: form (json or lines), head of the request, first time (ms), step (ms), devices.

local devices, step, now_ms
local is_lines
local head
local fronts, backs = {}, {}
local device, back = 0, 0
local at

local function value() return string.format("%.2f", 20 + 60 * math.random()) end

local function time_text(ms)
  if is_lines then return string.format("%d000000", ms) end
  return os.date("!%Y-%m-%dT%H:%M:%S", math.floor(ms / 1000)) .. string.format(".%03dZ", ms % 1000)
end

local function front(serial)
  if is_lines then return "bench,serial_number=" .. serial .. " " end
  return '{"serial_number":"' .. serial .. '","metrics":{'
end

local function fields()
  local form = is_lines and "temperature=%s,vibration=%s,pressure=%s " or
    '"temperature":%s,"vibration":%s,"pressure":%s},"timestamp":"'
  return string.format(form, value(), value(), value())
end

function init(args)
  is_lines = args[1] == "lines"
  now_ms, step, devices = tonumber(args[3]), tonumber(args[4]), tonumber(args[5])
  for i = 1, devices do fronts[i] = front(string.format("BENCH-%04d", i - 1)) end
  for i = 1, 997 do backs[i] = fields() end
  at = time_text(now_ms) .. (is_lines and "" or '"}')
  head = args[2] .. "Content-Length: " .. (#fronts[1] + #backs[1] + #at) .. "\r\n\r\n"
end

function request()
  device = device + 1
  if device > devices then
    device, now_ms = 1, now_ms + step
    at = time_text(now_ms) .. (is_lines and "" or '"}')
  end
  back = back % #backs + 1
  return head .. fronts[device] .. backs[back] .. at
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"seconds":%.6f,"mean_ms":%.3f,"p50_ms":%.3f,"p99_ms":%.3f,"bad_status":%d,"broken":%d}\n',
    summary.requests, summary.duration / 1e6, latency.mean / 1e3, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
