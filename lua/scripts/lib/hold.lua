-- hold: a job that was passed over for a minute holds an agent that could run it, which keeps what the job needs until that is
-- free, but for what is more urgent: a slot, memory, CPUs and as many GPUs. So large jobs do not starve behind small ones, and
-- what is left beside that goes on. There is one hold for each priority. Requests to a model are all of one size, so none is
-- passed over.
local hold = {}

local AFTER_MS = 60000
local EVERY_MS = 10000
local HOLDS = 8
local CLASSES = 64
local OF_A_PRIORITY = 16
local JOBS = 128
local AGENTS = 32
local LOOKS = 64
local LOOKS_A_UNIT = 32

-- Agents that this script has looked at for one job or another.
local looks

calls.begin_with(function()
  looks = 0
end)

-- The devices that a job is likely to have first: those with room for it, then those whose oldest attempt began last, since
-- what has run for long is likely to run on; at last those that it could not have even without our attempts.
local function likely_devices(a, j)
  local oldest, could, uuids = {}, {}, {}
  for _, entry in pairs(agent.heavy(a)) do
    for _, uuid in ipairs(entry.devices) do
      oldest[uuid] = math.min(oldest[uuid] or math.huge, entry.since)
    end
  end
  for i, device in ipairs(room.left(a).devices) do
    local has_room = device.left >= j.vram and room.is_open(device, j.exclusive)
    local begun = has_room and math.huge or device.most >= j.vram and oldest[device.uuid] or -1
    could[i] = { uuid = device.uuid, begun = begun, at = i }
  end
  table.sort(could, function(x, y) return x.begun > y.begun or (x.begun == y.begun and x.at < y.at) end)
  for i = 1, math.min(j.gpus, #could) do
    uuids[i] = could[i].uuid
  end
  return uuids
end

-- Lets the agent keep devices for the job that holds it. Each choice stands twice as long as all before it, so that sooner or
-- later one stands for longer than what runs on them.
local function keep_devices(a, j, since)
  local again = pool.now + math.max(AFTER_MS, pool.now - since)
  agent:put(a, 'kept_packed', cmsgpack.pack(likely_devices(a, j), since, again))
  rank.update(a)
end

-- Chooses anew which devices are kept, once the last choice has stood for long enough.
local function reconsider(a, j)
  local _, since, again = agent.kept(a)
  if pool.now >= again then
    keep_devices(a, j, since)
    pool.freed = pool.freed or {}
    pool.freed[#pool.freed + 1] = a
  end
end

-- The priorities whose hold is taken, and how many. Holds that lead nowhere are let go.
local function taken()
  local by_prio, count = {}, 0
  local flat = record.ask('HGETALL', key('holds'))
  for i = 1, #flat, 2 do
    local j = job:load(flat[i + 1])
    local a = j and j.holds and agent:load(j.holds)
    if not j then
      redis.call('HDEL', key('holds'), flat[i])
    elseif not a or not held.is_good(j, a) then
      held.free(j)
    else
      by_prio[j.prio], count = true, count + 1
      reconsider(a, j)
    end
  end
  return by_prio, count
end

-- The agent that a job would hold: of the largest that could run it, the one with the fewest attempts. One that the job
-- avoids only if there is no other.
local function agent_for(j)
  local best, best_cost
  local least = j.gpus > 0 and j.vram or j.ram
  local ids = rank.ask(j.class, 'ZREVRANGEBYSCORE', key('members', j.class), '+inf', int(least), 'LIMIT', '0', int(AGENTS))
  for _, id in ipairs(ids) do
    local a = agent:load(id)
    looks = looks + 1
    if a and not a.held and not capable.lacks_for(a, j) and held.is_good(j, a) and not avoid.is_refused(j, id) then
      local cost = agent.attempts(a) + (avoid.is_avoided(j, id) and 1000 or 0)
      if not best or cost < best_cost then
        best, best_cost = a, cost
      end
    end
  end
  return best
end

-- Of each priority whose hold is free, the first job that has waited for long and that some agent could run, but for those
-- that were looked at `before`. Only the first few of each class and priority are looked at, and no more than one script can:
-- the second result is how many were, if there are others.
local function passed_over(by_prio, before)
  local first, looked = {}, 0
  for _, cid in ipairs(line.classes(CLASSES)) do
    local from = '-inf'
    while from and looked < JOBS do
      local prio
      local some = line.from_with_orders(cid, from, OF_A_PRIORITY)
      for i = 1, #some, 2 do
        if looks >= LOOKS then
          return first, math.max(looked, before)
        end
        looked = looked + 1
        local of = job.priority_of(tonumber(some[i + 1]))
        prio = prio or of
        if of ~= prio or by_prio[prio] then
          break
        end
        local j = looked > before and job:load(some[i])
        local is_first = j and (not first[prio] or job.goes_before(j, first[prio]))
        if is_first and pool.now - j.waits >= AFTER_MS and j.kind == 'process' and agent_for(j) then
          first[prio] = j
          break
        end
      end
      from = prio and int(job.order_of(prio - 1, 0))
    end
  end
  return first
end

-- Lets a job hold an agent, and puts the job before all others of its priority.
local function give(j)
  local a = agent_for(j)
  if a then
    record.ask('HSET', key('holds'), int(j.prio), j.id)
    agent:put(a, 'held', j.id)
    job:put(j, 'holds', a.id)
    queue.put_first(j)
    keep_devices(a, j, pool.now)
    pool.announce('agent', a.id)
  end
  return a ~= nil
end

-- When to look again: at once if there are others that this script could not look at.
local function go_on(looked)
  if looked then
    redis.call('ZADD', key('due'), int(pool.now), 'hold:' .. looked)
  elseif line.is_any() then
    redis.call('ZADD', key('due'), int(pool.now + EVERY_MS), 'hold:all')
  else
    redis.call('ZREM', key('due'), 'hold:all')
  end
end

-- Looks whether jobs were passed over, the most urgent first: all, or those behind so many.
function hold.settle(before)
  pool.spare()
  redis.call('ZREM', key('due'), 'hold:' .. before)
  local by_prio, count = taken()
  local jobs, first, looked = {}, {}, nil
  if count < HOLDS then
    first, looked = passed_over(by_prio, tonumber(before) or 0)
  end
  for _, j in pairs(first) do
    jobs[#jobs + 1] = j
  end
  table.sort(jobs, function(x, y) return x.prio > y.prio end)
  for _, j in ipairs(jobs) do
    if count < HOLDS and give(j) then
      count = count + 1
    end
  end
  go_on(looked)
  pool.spent = pool.spent + math.floor(looks / LOOKS_A_UNIT)
end

-- Fills the agents that are not held any more.
function hold.fill_freed()
  while #pool.freed > 0 do
    local a = table.remove(pool.freed)
    if agent:load(a.id) == a then
      rank.update(a)
      queue.fill(a)
    end
  end
end

-- The agent changes or goes: the job that holds it looks for another.
function hold.drop(a)
  local j = job:load(a.held)
  if j then
    held.free(j)
  end
  agent:put(a, 'held', nil)
  agent:put(a, 'kept_packed', nil)
  redis.call('ZADD', key('due'), int(pool.now), 'hold:all')
end

return hold
