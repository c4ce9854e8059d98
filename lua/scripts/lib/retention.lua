-- retention: how many ended jobs a pool keeps, and how many bytes of output; the oldest go first. Output goes alone: its job
-- stays, with the key that it is known by. How many bytes it holds of what models are asked. And for how long it keeps what an
-- API key has had of models, once nothing is added.
local retention = {}

local LOOKED_AT = 16
local USAGE_KEPT_MS = 90 * 86400000
local COUNTED_AT_ONCE = 64
local COUNTED_ANEW_AFTER_MS = 300000
local SHARE = 2

function retention.is_over()
  sets.write('ended')
  return redis.call('ZCARD', key('ended')) > pool.job_max
end

-- The job that is forgotten next because the pool keeps too many: the oldest ended one. False if it does not.
function retention.surplus()
  return retention.is_over() and redis.call('ZRANGE', key('ended'), '0', '0')[1]
end

-- More ended jobs that the pool keeps too many of, the oldest first: so many at most.
function retention.more_surplus(most)
  sets.write('ended')
  local over = redis.call('ZCARD', key('ended')) - pool.job_max
  return over > 0 and redis.call('ZRANGE', key('ended'), '0', int(math.min(over, most) - 1)) or {}
end

-- The job whose output is forgotten next because the pool keeps too much: of the ended ones that have any the oldest. False
-- if it does not.
function retention.surplus_output()
  return retention.is_over_output() and retention.more_outputs(1)[1]
end

-- Jobs of which output is kept, the oldest first: so many at most.
function retention.more_outputs(most)
  sets.write('outputs')
  return redis.call('ZRANGE', key('outputs'), '0', int(most - 1))
end

function retention.is_over_output()
  return pool.output > pool.output_max
end

-- An ended job that can go: one that is cancelled has a place until its processes are gone, and one that others wait for has yet to
-- tell them.
function retention.that_can_go(id)
  local j = job:load(id)
  return j and not j.cancelling and not j.dependents and j or nil
end

-- Has the oldest ended job that can go looked at now, if the pool keeps too much. Those that can't go behind the others, so
-- that none is ever in their way.
function retention.trim()
  local id = retention.surplus()
  for _ = 1, id and LOOKED_AT or 0 do
    if retention.that_can_go(id) then
      sets.enter('due', 'job:' .. id, pool.now)
      break
    end
    sets.enter('ended', id, pool.now)
    id = retention.surplus()
  end
  local with_output = retention.surplus_output()
  if with_output and job:load(with_output) then
    sets.enter('due', 'job:' .. with_output, pool.now)
  elseif with_output then
    -- Nobody could forget it, and it must not be in the way of the others.
    sets.leave('outputs', with_output)
  end
end

-- Bytes of a job's prompt; none of what is no string.
function retention.prompt_bytes(id)
  local bytes = redis.pcall('STRLEN', key('prompt', id))
  return type(bytes) == 'number' and bytes or 0
end

-- Bytes of all prompts, as far as the pool knows.
local function held()
  return type(pool.prompts) == 'number' and pool.prompts or 0
end

-- Counts bytes of an owner's prompts in that hash. Gives nil if it can't be counted with: something has made it wrong.
local function count_of(name, owner, bytes)
  local of_owner = tonumber(redis.pcall('HINCRBY', key(name), owner, int(bytes)))
  if of_owner and of_owner <= 0 then
    redis.call('HDEL', key(name), owner)
  end
  return of_owner and of_owner >= 0 and of_owner or nil
end

-- The same in the hash that the pool goes by. An older version has counted for the whole pool only.
local function is_counted_of(owner, bytes)
  local of_owner = count_of('asked', owner, bytes)
  return of_owner and not (of_owner == bytes and held() > 0 and redis.call('HLEN', key('asked')) == 1)
end

-- Whether a job stands before another in the order of their ids, or is that one. Redis orders them byte by byte, while Lua goes by
-- the locale of the server.
local function is_up_to(id, last)
  for at = 1, math.min(#id, #last) do
    local byte, other = string.byte(id, at), string.byte(last, at)
    if byte ~= other then
      return byte < other
    end
  end
  return #id <= #last
end

-- Counts bytes of a job's prompt that are there from now on, or less than none if they are no more. A pool that an older version
-- has made does not know how many there are.
function retention.count_prompt(j, bytes)
  if bytes == 0 then
    return
  end
  local owner = j.owner or ''
  if not is_counted_of(owner, bytes) or type(pool.prompts) ~= 'number' then
    redis.call('ZADD', key('due'), int(pool.now), 'prompts:all')
  end
  pool.prompts = math.max(0, held() + bytes)
  if pool.counted_to and is_up_to(j.id, pool.counted_to) then
    pool.counted = pool.counted + bytes
    count_of('asked_anew', owner, bytes)
  end
end

-- Whether so many more bytes of prompts are too many for the pool, or for their owner: nobody has more than half of what may be
-- held, so that others are served. If so, they are counted anew after a while: something may have taken some of them without a
-- word, as a Redis that evicts does.
function retention.is_full_of_prompts(bytes, owner)
  local most = pool.prompt_max or math.huge
  local of_owner = tonumber(redis.pcall('HGET', key('asked'), owner)) or 0
  if held() + bytes <= most and of_owner + bytes <= most / SHARE then
    return false
  end
  redis.call('ZADD', key('due'), 'NX', int(pool.now + COUNTED_ANEW_AFTER_MS), 'prompts:all')
  return true
end

-- Whether ended jobs should give up their prompts, which otherwise are kept for a while.
function retention.is_short_of_prompts()
  return held() > (pool.prompt_max or math.huge) / 2
end

-- Counts the prompts of the next jobs anew. What changes meanwhile of those before them is counted as it does.
function retention.count_prompts_anew()
  sets.write('jobs')
  local from = pool.counted_to and '(' .. pool.counted_to or '-'
  local ids = redis.call('ZRANGEBYLEX', key('jobs'), from, '+', 'LIMIT', '0', int(COUNTED_AT_ONCE))
  if not pool.counted_to then
    pool.counted = 0
    redis.call('DEL', key('asked_anew'))
  end
  for _, id in ipairs(ids) do
    local bytes = retention.prompt_bytes(id)
    if bytes > 0 then
      local j = job:load(id)
      count_of('asked_anew', j and j.owner or '', bytes)
    end
    pool.counted, pool.counted_to = pool.counted + bytes, id
  end
  if #ids == COUNTED_AT_ONCE then
    redis.call('ZADD', key('due'), int(pool.now), 'prompts:all')
  else
    pool.prompts, pool.counted, pool.counted_to = pool.counted, nil, nil
    if redis.call('EXISTS', key('asked_anew')) == 1 then
      redis.call('RENAME', key('asked_anew'), key('asked'))
    else
      redis.call('DEL', key('asked'))
    end
    redis.call('ZREM', key('due'), 'prompts:all')
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
  local fields = record.ask('HGETALL', of)
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
