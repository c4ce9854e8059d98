-- class: who may run a kind of job. A class is made in slices of the registry and then kept by registration.
--
-- class:<id>    hash  spec (JSON as the wrapper sent it), used_ms, steps (bitmap of ranks that may hold agents),
--                     cursor (the last agent that was looked at, while the class is being made)
-- members:<id>  zset  every agent that could run such jobs, by the most memory that it could give to one, megabytes
local class = {}

local SLICE = 256
local CLASSES_OF_AN_AGENT = 32
local CLASSES_TRIED = 512
local USE_NOTED_EVERY_MS = 60000

-- The id of a class is a hash of its spec.
function class.id_of(spec)
  return string.sub(redis.sha1hex(spec), 1, 16)
end

function class.decode(cid, spec)
  local c = cjson.decode(spec)
  c.id = cid
  return c
end

-- The most memory that an agent could ever give to one job of the class.
local function capacity(caps, c)
  if c.gpus == 0 then
    return caps.ram
  end
  local totals = {}
  for i, device in ipairs(caps.gpus) do
    totals[i] = device.total
  end
  table.sort(totals, function(x, y) return x > y end)
  return totals[c.gpus]
end

-- The place of an agent among classes with this score, made if need be, with its number; nil if it is a member already
-- or stands in 32 classes.
local function place_for(a, c)
  local count, alike = 0, nil
  for i, place in ipairs(agent.places(a)) do
    count = count + #place.classes
    if place.kind == c.kind and place.model == c.model and place.gpus == c.gpus then
      alike = i
      for _, cid in ipairs(place.classes) do
        if cid == c.id then
          return nil
        end
      end
    end
  end
  if count >= CLASSES_OF_AN_AGENT then
    return nil
  end
  local places, standing = agent.places(a), agent.standing(a)
  if not alike then
    alike = #places + 1
    places[alike] = { kind = c.kind, model = c.model, gpus = c.gpus, classes = {} }
    standing[2 * alike - 1], standing[2 * alike] = -1, 0
  end
  return places[alike], alike
end

-- Makes the agent a member if it could run such jobs.
local function admit(a, c)
  if fit.never(agent.caps(a), c) then
    return false
  end
  local place, i = place_for(a, c)
  if not place then
    return false
  end
  place.classes[#place.classes + 1] = c.id
  redis.call('ZADD', key('members', c.id), capacity(agent.caps(a), c), a.id)
  local standing = agent.standing(a)
  if standing[2 * i - 1] >= 0 then
    rank.enter(a, c.id, standing[2 * i - 1], standing[2 * i])
  end
  agent.pack(a, 'places', agent.places(a))
  agent.pack(a, 'standing', standing)
  return true
end

-- Looks at the next slice of the registry. Sets itself up to be called again until all were looked at.
function class.make_slice(cid)
  local found = redis.call('HMGET', key('class', cid), 'spec', 'cursor')
  if not found[1] or not found[2] then
    redis.call('ZREM', key('due'), 'class:' .. cid)
    return
  end
  local c = class.decode(cid, found[1])
  local from = found[2] == '' and '-' or '(' .. found[2]
  local ids = redis.call('ZRANGEBYLEX', key('agents'), from, '+', 'LIMIT', 0, SLICE)
  for _, id in ipairs(ids) do
    local a = agent:load(id)
    if a and admit(a, c) then
      rank.update(a)
      queue.fill(a)
    end
  end
  if #ids < SLICE then
    redis.call('HDEL', key('class', cid), 'cursor')
    redis.call('ZREM', key('due'), 'class:' .. cid)
  else
    redis.call('HSET', key('class', cid), 'cursor', ids[#ids])
    redis.call('ZADD', key('due'), pool.now, 'class:' .. cid)
  end
end

-- Notes that a job uses the class, and makes the class if it is new.
function class.use(cid, spec)
  local used = redis.call('HGET', key('class', cid), 'used_ms')
  if used and pool.now - tonumber(used) < USE_NOTED_EVERY_MS then
    return
  end
  redis.call('ZADD', key('classes'), pool.now, cid)
  if used then
    redis.call('HSET', key('class', cid), 'used_ms', pool.now)
    return
  end
  redis.call('HSET', key('class', cid), 'spec', spec, 'used_ms', pool.now, 'steps', '0', 'cursor', '')
  class.make_slice(cid)
end

-- Takes an agent out of all classes, before its capabilities change or it goes.
function class.expel(a)
  local standing = agent.standing(a)
  for i, place in ipairs(agent.places(a)) do
    for _, cid in ipairs(place.classes) do
      if standing[2 * i - 1] >= 0 then
        rank.leave(a, cid, standing[2 * i - 1])
      end
      redis.call('ZREM', key('members', cid), a.id)
    end
  end
  agent.pack(a, 'places', {})
  agent.pack(a, 'standing', {})
end

-- Makes an agent a member of the classes that it could serve, those used last first.
function class.enrol(a)
  for _, cid in ipairs(redis.call('ZREVRANGE', key('classes'), 0, CLASSES_TRIED - 1)) do
    local spec = redis.call('HGET', key('class', cid), 'spec')
    if spec then
      admit(a, class.decode(cid, spec))
    end
  end
end

-- Whether some member could ever run a job of this need: true, false, or nil if that is not known yet.
function class.could_serve(cid, need)
  local found = redis.call('HMGET', key('class', cid), 'spec', 'cursor')
  if not found[1] or found[2] then
    return nil
  end
  local c = class.decode(cid, found[1])
  local least = need.gpus > 0 and need.vram or need.ram
  local ids = redis.call('ZREVRANGEBYSCORE', key('members', cid), '+inf', least, 'LIMIT', 0, SLICE)
  for _, id in ipairs(ids) do
    local a = agent:load(id)
    if a and not fit.never(agent.caps(a), c, need) then
      return true
    end
  end
  if #ids == SLICE then
    return nil
  end
  return false
end

return class
