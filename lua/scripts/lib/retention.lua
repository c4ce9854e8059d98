-- retention: how many ended jobs a pool keeps, and how many bytes of output; the oldest go first.
local retention = {}

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

return retention
