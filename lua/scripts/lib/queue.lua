-- queue: jobs that no agent can take yet, and the filling of room that appears.
queue = {}

local FILLED_AT_ONCE = 16
local LOOKED_AT_IN_A_CLASS = 8

-- Keeps `waiting` in step with the best pending job of a class.
local function note_best(cid)
  local best = redis.call('ZRANGE', key('pending', cid), 0, 0, 'WITHSCORES')
  if best[1] then
    redis.call('ZADD', key('waiting'), best[2], cid)
  else
    redis.call('ZREM', key('waiting'), cid)
  end
end

-- Lets a job wait for an agent.
function queue.pend(j)
  redis.call('ZADD', key('pending', j.class), j.order, j.id)
  note_best(j.class)
  redis.call('ZREM', key('due'), 'job:' .. j.id)
  job:put(j, 'agent', nil)
  job.move(j, 'pending')
end

-- Takes a pending job out.
function queue.remove(j)
  redis.call('ZREM', key('pending', j.class), j.id)
  note_best(j.class)
end

-- Binds a job to the best agent, or lets it wait. Returns the agent.
function queue.put(j)
  local a, devices = place.find(j)
  if a then
    attempt.bind(j, a, devices)
  else
    queue.pend(j)
  end
  return a
end

-- The best pending job of a class that the agent has room for, with its devices.
local function first_fitting(a, cid)
  for _, id in ipairs(redis.call('ZRANGE', key('pending', cid), 0, LOOKED_AT_IN_A_CLASS - 1)) do
    local j = job:load(id)
    if j and not job.is_refused_by(j, a.id) then
      local devices = fit.now(a, j)
      if devices then
        return j, devices
      end
    end
  end
  return nil
end

-- The agent's classes that have pending jobs, the one with the best job first.
local function waiting_classes(a)
  local waiting, places = {}, agent.places(a)
  for i = 1, #places, 6 do
    local slots, taken = agent.slots(a, places[i + 1], places[i + 2])
    local best = taken < slots and redis.call('ZSCORE', key('waiting'), places[i])
    if best then
      waiting[#waiting + 1] = { id = places[i], best = tonumber(best) }
    end
  end
  table.sort(waiting, function(x, y) return x.best < y.best end)
  return waiting
end

-- Binds pending jobs to an agent that has room and waits for work, at most `most` of them. Returns the bound jobs.
function queue.fill(a, most)
  local bound = {}
  if not agent.takes_work(a) or redis.call('EXISTS', key('waiting')) == 0 then
    return bound
  end
  while #bound < (most or FILLED_AT_ONCE) do
    local j, devices
    for _, waiting in ipairs(waiting_classes(a)) do
      j, devices = first_fitting(a, waiting.id)
      if j then
        break
      end
    end
    if not j then
      break
    end
    queue.remove(j)
    attempt.bind(j, a, devices)
    bound[#bound + 1] = j
  end
  return bound
end
