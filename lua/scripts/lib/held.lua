-- held: agents that keep what a job needs, until it fits; lib/hold says which, and which of their devices.
--
-- holds  hash  the job that holds an agent, by priority
local held = {}

local function stands_in(a, cid)
  for _, place in ipairs(agent.places(a)) do
    for _, other in ipairs(place.classes) do
      if other == cid then
        return true
      end
    end
  end
  return false
end

-- Whether an agent may still get the job that holds it, sooner or later.
function held.is_good(j, a)
  return (a.state == 'healthy' or a.state == 'degraded') and not (a.draining or a.leaving) and stands_in(a, j.class)
end

-- The held agent that has room for a job in what it keeps: the one that the job holds, or one that a less urgent job holds; with its
-- devices.
function held.find(j)
  for _, id in ipairs(record.ask('HVALS', key('holds'))) do
    local holder = job:load(id)
    local a = holder and (holder == j or j.prio > holder.prio) and holder.holds and agent:load(holder.holds)
    if a and agent.takes_work(a) and stands_in(a, j.class) and not avoid.is_refused(j, a.id) then
      local devices = fit.for_job(a, j)
      if devices then
        return a, devices
      end
    end
  end
  return nil
end

-- Lets go of the agent that a job holds. What has room there is looked for when the script ends.
function held.free(j)
  local a = agent:load(j.holds)
  record.ask('HDEL', key('holds'), int(j.prio))
  job:put(j, 'holds', nil)
  if a then
    agent:put(a, 'held', nil)
    agent:put(a, 'kept_packed', nil)
    pool.freed = pool.freed or {}
    pool.freed[#pool.freed + 1] = a
  end
end

return held
