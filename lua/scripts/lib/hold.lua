-- hold: a job that was passed over for a minute holds an agent that could run it, which takes nothing else until the job
-- fits, but for what is more urgent. So large jobs do not starve behind small ones. There is one hold for each priority.
-- Requests to a model are all of one size, so none is passed over.
local hold = {}

local AFTER_MS = 60000
local EVERY_MS = 10000
local HOLDS = 8
local CLASSES = 64
local OF_A_PRIORITY = 16
local JOBS = 128
local AGENTS = 32

-- The priorities whose hold is taken, and how many. Holds that lead nowhere are let go.
local function taken()
  local by_prio, count = {}, 0
  local flat = redis.call('HGETALL', key('holds'))
  for i = 1, #flat, 2 do
    local j = job:load(flat[i + 1])
    local a = j and j.holds and agent:load(j.holds)
    if not j then
      redis.call('HDEL', key('holds'), flat[i])
    elseif not a or not held.is_good(j, a) then
      held.free(j)
    else
      by_prio[j.prio], count = true, count + 1
    end
  end
  return by_prio, count
end

-- The agent that a job would hold: of the largest that could run it, the one with the fewest attempts. One that the job
-- avoids only if there is no other.
local function agent_for(j)
  local spec = redis.call('HGET', key('class', j.class), 'spec')
  if not spec then
    return nil
  end
  local c, best, best_cost = class.read(j.class, spec), nil, nil
  if not c then
    return nil
  end
  local least = j.gpus > 0 and j.vram or j.ram
  for _, id in ipairs(redis.call('ZREVRANGEBYSCORE', key('members', j.class), '+inf', int(least), 'LIMIT', '0', int(AGENTS))) do
    local a = agent:load(id)
    if a and not a.held and held.is_good(j, a) and not avoid.is_refused(j, id) and not capable.lacks(a, c, j) then
      local cost = avoid.is_avoided(j, id) and 1000 or 0
      for _ in pairs(agent.live(a)) do
        cost = cost + 1
      end
      if not best or cost < best_cost then
        best, best_cost = a, cost
      end
    end
  end
  return best
end

-- Of each priority whose hold is free, the first job that has waited for long and that some agent could run. Only the first
-- few of each class and priority are looked at.
local function passed_over(by_prio)
  local first, looked = {}, 0
  for _, cid in ipairs(redis.call('ZRANGE', key('waiting'), '0', int(CLASSES - 1))) do
    local from = '-inf'
    while from and looked < JOBS do
      local prio
      for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('pending', cid), from, '+inf', 'LIMIT', '0', int(OF_A_PRIORITY))) do
        local j = job:load(id)
        looked = looked + 1
        if j then
          prio = prio or j.prio
          if j.prio ~= prio or by_prio[prio] then
            break
          end
          local is_first = not first[prio] or job.goes_before(j, first[prio])
          if pool.now - j.waits >= AFTER_MS and is_first and j.kind == 'process' and agent_for(j) then
            first[prio] = j
            break
          end
        end
      end
      from = prio and int(job.order_of(prio - 1, 0))
    end
  end
  return first
end

-- Lets a job hold an agent, and puts it before all others of its priority.
local function give(j)
  local a = agent_for(j)
  if a then
    redis.call('HSET', key('holds'), int(j.prio), j.id)
    agent:put(a, 'held', j.id)
    job:put(j, 'holds', a.id)
    queue.put_first(j)
    rank.update(a)
    pool.announce('agent', a.id)
  end
  return a ~= nil
end

-- Looks whether jobs were passed over, the most urgent first, and when to look again.
function hold.settle()
  local by_prio, count = taken()
  local jobs = {}
  for _, j in pairs(passed_over(by_prio)) do
    jobs[#jobs + 1] = j
  end
  table.sort(jobs, function(x, y) return x.prio > y.prio end)
  for _, j in ipairs(jobs) do
    if count < HOLDS and give(j) then
      count = count + 1
    end
  end
  if redis.call('EXISTS', key('waiting')) == 1 then
    redis.call('ZADD', key('due'), int(pool.now + EVERY_MS), 'hold:all')
  else
    redis.call('ZREM', key('due'), 'hold:all')
  end
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
  redis.call('ZADD', key('due'), int(pool.now), 'hold:all')
end

return hold
