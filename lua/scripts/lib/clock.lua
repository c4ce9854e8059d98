-- clock: the only clock there is, that of Redis; tests pass their own time.
local clock = {}

-- Milliseconds since the epoch: what the argument says, or the time of Redis if it is empty.
function clock.read(now_ms)
  if now_ms ~= '' then
    return tonumber(now_ms)
  end
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

return clock
