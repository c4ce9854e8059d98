-- members: which agents may run a class's jobs. They are gathered in slices of the registry when the class is made, kept by
-- registration, and let go in slices when no job has used the class for a while.
local members = {}

local SLICE = 64
local AGENTS_A_UNIT = 8
local EXAMINED = 128
local DROPPED_AFTER_MS = 600000
local CLASSES_OF_AN_AGENT = 32
local CLASSES_TRIED = 128

-- Agents that this script has looked at for one class or another.
local looked_at

calls.begin_with(function()
  looked_at = 0
end)

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

-- Takes an agent out of one class.
local function leave(a, cid)
  local standing = agent.standing(a)
  for i, place in ipairs(agent.own_places(a)) do
    for n, other in ipairs(place.classes) do
      if other == cid then
        table.remove(place.classes, n)
        if standing[2 * i - 1] >= 0 then
          rank.leave(a, cid, standing[2 * i - 1])
        end
        agent.put_places(a)
        break
      end
    end
  end
  rank.ask(cid, 'ZREM', key('members', cid), a.id)
end

-- Makes room for one more class: the agent leaves the one that was used least recently and has no pending jobs. Returns
-- whether there was one.
local function make_room(a)
  local oldest, used
  for _, place in ipairs(agent.places(a)) do
    for _, cid in ipairs(place.classes) do
      local at = tonumber(redis.call('ZSCORE', key('classes'), cid) or '0')
      if (not used or at < used) and not line.best(cid) then
        oldest, used = cid, at
      end
    end
  end
  if not oldest then
    return false
  end
  leave(a, oldest)
  class.part(oldest)
  return true
end

-- The place of an agent among classes with this score, made if need be, with its number, and whether it is a member already;
-- nil if it stands in 32 classes that all have pending jobs.
local function place_for(a, c)
  local count = 0
  for i, place in ipairs(agent.places(a)) do
    count = count + #place.classes
    for _, cid in ipairs(place.classes) do
      if cid == c.id then
        return place, i, true
      end
    end
  end
  if count >= CLASSES_OF_AN_AGENT and not make_room(a) then
    return nil
  end
  local places, standing = agent.own_places(a), agent.standing(a)
  for i, place in ipairs(places) do
    if place.kind == c.kind and place.model == c.model and place.gpus == c.gpus and place.exclusive == c.exclusive then
      return place, i
    end
  end
  local i = #places + 1
  places[i] = { kind = c.kind, model = c.model, gpus = c.gpus, exclusive = c.exclusive, classes = {} }
  standing[2 * i - 1], standing[2 * i] = -1, 0
  return places[i], i
end

-- Makes the agent a member if it could run such jobs. Where it is one and the class is made again, what the class has of it is
-- put right, as it may have been lost.
local function admit(a, c, again)
  if capable.lacks(a, c) then
    return false
  end
  local stand, i, is_member = place_for(a, c)
  if not stand or (is_member and not again) then
    return false
  end
  if not is_member then
    stand.classes[#stand.classes + 1] = c.id
  end
  rank.ask(c.id, 'ZADD', key('members', c.id), capacity(agent.caps(a), c), a.id)
  local standing = agent.standing(a)
  if standing[2 * i - 1] >= 0 then
    rank.enter(a, c.id, standing[2 * i - 1], standing[2 * i])
  end
  agent.put_places(a)
  agent.put_standing(a)
  return true
end

-- Looks at the next slice of the registry. Sets itself up to be called again until all were looked at.
local function make_slice(cid, spec, cursor)
  pool.spare()
  local c = class.decode(cid, spec)
  local from = cursor == '' and '-' or '(' .. cursor
  local most = SLICE - looked_at
  local ids = redis.call('ZRANGEBYLEX', key('agents'), from, '+', 'LIMIT', 0, most)
  looked_at = looked_at + #ids
  for _, id in ipairs(ids) do
    local a = agent:load(id)
    if a and admit(a, c, true) then
      rank.update(a)
    end
  end
  queue.place_waiting(cid)
  pool.spent = pool.spent + math.floor(#ids / AGENTS_A_UNIT)
  if #ids < most then
    redis.call('HDEL', key('class', cid), 'cursor')
    redis.call('ZADD', key('due'), int(pool.now + DROPPED_AFTER_MS), 'class:' .. cid)
  else
    redis.call('HSET', key('class', cid), 'cursor', ids[#ids])
    redis.call('ZADD', key('due'), int(pool.now), 'class:' .. cid)
  end
end

-- Takes the next slice of members out of a class that nobody uses, and forgets the class when none is left.
local function drop_slice(cid)
  class.part(cid)
  local most = SLICE - looked_at
  local ids = rank.ask(cid, 'ZRANGE', key('members', cid), 0, most - 1)
  looked_at = looked_at + #ids
  for _, id in ipairs(ids) do
    local a = agent:load(id)
    if a then
      leave(a, cid)
    else
      redis.call('ZREM', key('members', cid), id)
    end
  end
  pool.spent = pool.spent + math.floor(#ids / AGENTS_A_UNIT)
  if #ids == most then
    return redis.call('ZADD', key('due'), int(pool.now), 'class:' .. cid)
  end
  rank.forget(cid)
  redis.call('DEL', key('class', cid), key('members', cid))
  redis.call('ZREM', key('classes'), cid)
  redis.call('ZREM', key('due'), 'class:' .. cid)
end

-- Has a class made again that has lost what it says of itself, if a job waits in it; else nothing has to be seen to. One that
-- is of another class stands in a wrong line, and can't say what this class is.
local function restore(cid)
  local ids, at = line.first(cid, 1)
  local j = ids[at] and job:load(ids[at])
  if j and j.class == cid then
    class.need(j)
  else
    redis.call('ZREM', key('due'), 'class:' .. cid)
  end
end

-- Goes on making a class, or drops one that no job has used for 10 minutes and none waits in: for all classes together one
-- slice a script.
function members.settle(cid)
  if looked_at >= SLICE then
    return
  end
  local found = record.ask('HMGET', key('class', cid), 'spec', 'cursor', 'used_ms')
  if not found[1] then
    restore(cid)
  elseif found[2] then
    make_slice(cid, found[1], found[2])
  elseif pool.now - found[3] >= DROPPED_AFTER_MS and line.is_empty(cid) then
    drop_slice(cid)
  else
    redis.call('ZADD', key('due'), int(math.max(pool.now, found[3]) + DROPPED_AFTER_MS), 'class:' .. cid)
  end
end

-- Takes an agent out of all classes, before its capabilities change or it goes.
function members.expel(a)
  if a.held then
    hold.drop(a)
  end
  local standing = agent.standing(a)
  for i, place in ipairs(agent.places(a)) do
    for _, cid in ipairs(place.classes) do
      if standing[2 * i - 1] >= 0 then
        rank.leave(a, cid, standing[2 * i - 1])
      end
      rank.ask(cid, 'ZREM', key('members', cid), a.id)
    end
  end
  a.places, a.standing = {}, {}
  agent.put_places(a)
  agent.put_standing(a)
end

-- Makes an agent a member of the classes that it could serve, those used last first.
function members.enrol(a)
  for _, cid in ipairs(redis.call('ZREVRANGE', key('classes'), 0, CLASSES_TRIED - 1)) do
    local spec = record.ask('HGET', key('class', cid), 'spec')
    local c = spec and class.read(cid, spec)
    if c then
      admit(a, c)
    end
  end
end

-- Leaves the classes of models that it no longer serves, and the places where none is left.
local function leave_unserved(a)
  for _, place in ipairs(agent.own_places(a)) do
    if place.kind ~= 'process' and not agent.model(a, place.model) then
      while place.classes[1] do
        leave(a, place.classes[1])
      end
    end
  end
  local places, standing = {}, {}
  for i, place in ipairs(a.places) do
    if place.classes[1] then
      places[#places + 1] = place
      standing[#standing + 1], standing[#standing + 2] = agent.standing(a)[2 * i - 1], agent.standing(a)[2 * i]
    end
  end
  a.places, a.standing = places, standing
  agent.put_places(a)
  agent.put_standing(a)
end

-- What an attempt had reserved to load a model is used once the model is loaded.
local function settle_loading(a)
  for job_id, entry in pairs(agent.heavy(a)) do
    local model = entry.model ~= '' and agent.model(a, entry.model)
    if model and model.loaded and #entry.devices > 0 then
      agent.change(a, job_id, terms.attempt(entry.state, entry.number, entry.lease, terms.of(entry.model, entry.vram, {},
        entry.ram, entry.cpus, entry.since, entry.claim, entry.exclusive, entry.edge, entry.ticket)))
    end
  end
end

-- The agent serves these models from now on.
function members.serve(a, models)
  local before, is_other, caps = agent.caps(a).models, false, {}
  local now = catalog.named(models)
  for name in pairs(before) do
    is_other = is_other or not now[name]
  end
  for name in pairs(now) do
    is_other = is_other or not before[name]
  end
  for name, value in pairs(agent.caps(a)) do
    caps[name] = value
  end
  caps.models, a.caps, a.caps_of, a.left = now, caps, nil, nil
  agent:put(a, 'caps_packed', cmsgpack.pack(caps))
  settle_loading(a)
  if is_other then
    leave_unserved(a)
    members.enrol(a)
  end
end

-- Whether some member could ever run a job of this need: true, nil if there are too many to look at, or false if none is found.
-- While the class is being made that says nothing of those that are no members yet.
function members.could_serve(cid, need)
  local spec = record.ask('HGET', key('class', cid), 'spec')
  if not spec then
    return false
  end
  local c = class.decode(cid, spec)
  local least = need.gpus > 0 and need.vram or need.ram
  local ids = rank.ask(cid, 'ZREVRANGEBYSCORE', key('members', cid), '+inf', least, 'LIMIT', 0, EXAMINED)
  for _, id in ipairs(ids) do
    local a = agent:load(id)
    if a and not capable.lacks(a, c, need) then
      return true
    end
  end
  if #ids == EXAMINED then
    return nil
  end
  return false
end

return members
