-- class: a kind of job, by who may run it.
--
-- class:<id>    hash  spec (JSON as the wrapper sent it), used_ms, steps (bitmap of ranks that may hold agents),
--                     cursor (the last agent that was looked at, while the class is being made), incomplete (an agent
--                     left it to make room), looked_at (where lib/queue goes on looking)
-- members:<id>  zset  every agent that could run such jobs, by the most memory that it could give to one, megabytes
local class = {}

local USE_NOTED_EVERY_MS = 60000
local MAKERS_FORGOTTEN_AT_ONCE = 100

-- Classes that this run has seen whole, or has had made.
local made = {}
-- The ids of classes by their specs.
local ids

calls.begin_with(function()
  made, ids = next(made) and {} or made, nil
end)

-- The id of a class is a hash of its spec.
function class.id_of(spec)
  ids = ids or {}
  ids[spec] = ids[spec] or string.sub(redis.sha1hex(spec), 1, 16)
  return ids[spec]
end

function class.decode(cid, spec)
  local c = cjson.decode(spec)
  c.id = cid
  return c
end

-- The same for those who look at many: nil if what Redis has there can't be read.
function class.read(cid, spec)
  local ok, c = pcall(class.decode, cid, spec)
  return ok and c or nil
end

-- Notes that a job uses the class. Returns whether it has to be made: it is new, or has lost members.
function class.use(cid, spec)
  local found = record.ask('HMGET', key('class', cid), 'used_ms', 'incomplete')
  made[cid] = found[1] and not found[2]
  if made[cid] and pool.now - found[1] < USE_NOTED_EVERY_MS then
    return false
  end
  redis.call('ZADD', key('classes'), int(pool.now), cid)
  redis.call('HSET', key('class', cid), 'used_ms', int(pool.now))
  if made[cid] then
    return false
  end
  redis.call('HSET', key('class', cid), 'spec', spec, 'cursor', '')
  redis.call('HDEL', key('class', cid), 'incomplete')
  made[cid] = true
  -- Should there be no time for it now.
  redis.call('ZADD', key('due'), int(pool.now), 'class:' .. cid)
  return true
end

-- Sees to it that a job's class is made, or made again: since the job was placed the class may have been dropped, or agents
-- may have left it for others.
function class.need(j)
  if made[j.class] then
    return
  end
  local found = record.ask('HMGET', key('class', j.class), 'spec', 'incomplete')
  if found[1] and not found[2] then
    made[j.class] = true
    return
  end
  local spec = found[1]
  if not spec then
    local requirements = cjson.decode(redis.call('GET', key('spec', j.id))).requirements
    local labels = {}
    for name, value in pairs(requirements.agent_labels) do
      labels[#labels + 1] = { name, value }
    end
    spec = cjson.encode({ kind = j.kind, model = j.model or '', gpus = j.gpus, labels = labels, exclusive = j.exclusive })
  end
  redis.call('HSET', key('class', j.class), 'spec', spec, 'used_ms', int(pool.now), 'cursor', '')
  redis.call('HDEL', key('class', j.class), 'incomplete')
  made[j.class] = true
  redis.call('ZADD', key('classes'), int(pool.now), j.class)
  redis.call('ZADD', key('due'), int(pool.now), 'class:' .. j.class)
end

-- Notes that agents leave the class for others: whoever needs it has it made again.
function class.part(cid)
  made[cid] = nil
  record.ask('HSET', key('class', cid), 'incomplete', '1')
end

-- Forgets keys that may have as many classes made again as ever: a bounded number at once.
function class.forget_makers()
  local old = record.ask('ZRANGEBYSCORE', key('makers'), '-inf', int(pool.now), 'LIMIT', '0', int(MAKERS_FORGOTTEN_AT_ONCE))
  if old[1] then
    redis.call('ZREM', key('makers'), unpack(old))
  end
end

return class
