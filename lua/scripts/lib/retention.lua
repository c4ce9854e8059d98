-- retention: how many ended jobs a pool keeps, and how many bytes of output; the oldest go first. And for how long it keeps
-- what an API key has had of models, once nothing is added.
local retention = {}

local USAGE_KEPT_MS = 90 * 86400000

function retention.is_over()
  return pool.output > pool.output_max or redis.call('ZCARD', key('ended')) > pool.job_max
end

-- The job that is forgotten next because the pool keeps too much: the oldest ended one. False if it does not.
function retention.surplus()
  return retention.is_over() and redis.call('ZRANGE', key('ended'), '0', '0')[1]
end

-- Has the oldest ended job looked at now, if the pool keeps too much.
function retention.trim()
  local oldest = retention.surplus()
  if oldest then
    redis.call('ZADD', key('due'), int(pool.now), 'job:' .. oldest)
  end
end

-- Has the usage of a key looked at after a while.
function retention.watch_usage(owner)
  redis.call('ZADD', key('due'), int(pool.now + USAGE_KEPT_MS), 'usage:' .. owner)
end

-- Forgets the usage of a key that has asked for nothing since it was looked at last: an exact time of its last request
-- would have to be written with each.
function retention.look_at_usage(owner)
  local of, requests = key('usage', owner), 0
  local fields = redis.call('HGETALL', of)
  local before
  for i = 1, #fields, 2 do
    if fields[i] == 'seen' then
      before = tonumber(fields[i + 1])
    elseif string.sub(fields[i], 1, 9) == 'requests:' then
      requests = requests + fields[i + 1]
    end
  end
  if #fields == 0 or requests == before then
    redis.call('DEL', of)
    redis.call('ZREM', key('due'), 'usage:' .. owner)
  else
    redis.call('HSET', of, 'seen', int(requests))
    retention.watch_usage(owner)
  end
end

return retention
