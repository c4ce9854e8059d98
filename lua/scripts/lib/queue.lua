-- queue: jobs that no agent can take yet, and the filling of room that appears.
local queue = {}

local FILLED_AT_ONCE = 16
local LOOKED_AT_FIRST = 16
local LOOKED_AT_MORE = 64
local LONGEST_BACKOFF_MS = 3600000

-- How many waiting jobs this run has looked at.
local looked_at

calls.begin_with(function()
  looked_at = 0
end)

function queue.looked_at()
  return looked_at
end

-- Lets a job wait for an agent.
function queue.pend(j)
  class.need(j)
  line.join(j)
  job:put(j, 'waits', j.waits or pool.now)
  if j.not_after then
    job.wake_at(j, j.not_after)
  elseif not j.is_new then
    sets.leave('due', 'job:' .. j.id)
  end
  job:put(j, 'agent', nil)
  job.move(j, 'pending')
end

-- Takes a pending job out that is not to run.
function queue.remove(j)
  if line.drop(j) then
    fair.leave(j)
  end
  if j.holds then
    held.free(j)
  end
end

-- Puts a pending job before all others of its priority.
function queue.put_first(j)
  job:put(j, 'order', job.order_of(j.prio, 0))
  line.join(j)
end

-- Nobody began the job in time, or brought its ticket.
function queue.give_up(j)
  job:put(j, 'reason', j.ticket and 'ticket_unused' or 'deadline_passed')
  ending.finish(j, 'failed')
end

-- Binds a job to the best agent, or lets it wait. Returns the agent.
function queue.put(j)
  if job.is_too_late(j) then
    queue.give_up(j)
    return nil
  end
  local a, devices = place.find(j)
  if a then
    binding.bind(j, a, devices)
  else
    queue.pend(j)
  end
  return a
end

-- Lets a job wait until a time.
function queue.delay(j, until_ms)
  job:put(j, 'agent', nil)
  job:put(j, 'not_before', until_ms)
  job.move(j, 'delayed')
  job.wake_at(j, until_ms)
end

-- Starts a job that waits for no other, when its time has come.
function queue.start(j)
  if j.not_before and pool.now < j.not_before then
    queue.delay(j, j.not_before)
  else
    job:put(j, 'not_before', nil)
    queue.put(j)
  end
end

-- How long to wait before the next attempt: twice as long each time, of which a half is jitter.
local function backoff(j)
  local base = math.min((j.backoff or 0) * 2 ^ math.min(job.spent(j) - 1, 20), LONGEST_BACKOFF_MS)
  local jitter = tonumber(string.sub(redis.sha1hex(j.id .. '-' .. j.attempt), 1, 4), 16) / 65536
  return math.floor(base * (0.5 + jitter / 2))
end

-- An attempt ended other than well: the job is tried again, unless its attempts are used up.
-- `why` = {reason, exit, signal, message, is_its_own: the job's doing, so that it waits a while,
-- is_final: another attempt would end the same way}; `free`: it does not count against max.
function queue.retry(j, a, why, free)
  agent.release(a, j.id)
  rank.update(a)
  if free then
    job:put(j, 'free', j.free + 1)
  end
  local is_final = why.is_final or j.ticket or job.has_answered(j)
  if is_final and not why.reason then
    why.reason = 'lease_lost'
  end
  if why.reason then
    ending.note_failure(j, a.id, j.attempt, why)
  end
  job:put(j, 'lease_until', nil)
  local wait = why.is_its_own and backoff(j) or 0
  if is_final then
    return ending.finish(j, 'failed')
  end
  if job.spent(j) >= j.max or j.probe then
    return ending.finish(j, job.spent(j) >= j.max and 'failed' or 'cancelled')
  end
  event.job('retried', j)
  if not free then
    job.has_its_time_again(j)
  end
  if wait > 0 then
    queue.delay(j, pool.now + wait)
  else
    queue.put(j)
  end
end

-- Binds a pending job, or does something else with what it takes. One that was found far behind the first in line says nothing
-- about whose turn it is.
local function bind_waiting(j, a, devices, instead)
  line.leave(j)
  if not j.is_far then
    fair.serve(j)
  end
  if instead then
    instead(j, binding.reserve(j, a, devices))
    rank.update(a)
  else
    binding.bind(j, a, devices)
  end
  pool.spent = pool.spent + 1
end

-- Binds the first pending jobs of a class to the best agents, for a class that has got new members.
function queue.place_waiting(cid)
  local ids, at = line.first(cid, FILLED_AT_ONCE)
  for _, id in ipairs({ unpack(ids, at, at + FILLED_AT_ONCE - 1) }) do
    local j = job:load(id)
    local a, devices
    if j then
      a, devices = place.find(j)
    end
    if a then
      bind_waiting(j, a, devices)
    end
  end
end

-- The first of so many jobs from a place of a list on that the agent has room for, with its devices.
local function fitting(a, ids, at, most)
  for i = at, math.min(at + most - 1, #ids) do
    local j = job:load(ids[i])
    looked_at = looked_at + 1
    if j and not (j.refused and avoid.is_refused(j, a.id)) and not job.is_too_late(j) then
      local devices = fit.for_job(a, j)
      if devices then
        return j, devices
      end
    end
  end
  return nil
end

-- Reads with one command what an agent that has several places is going to take one by one.
local function read_ahead(a, ids, at, places)
  if places > 1 and ids[at + 1] and not job:is_read(ids[at + 1]) then
    local next = { unpack(ids, at, math.min(at - 1 + math.min(places, LOOKED_AT_FIRST), #ids)) }
    job:read_ahead(next)
    agent.read_entries_ahead(a, next)
  end
end

-- The best pending job of a class that the agent has room for, with its devices. It looks at the first ones and, if none
-- fits, goes on where it last stopped, so that jobs which nobody can take do not hide those behind them for long.
local function first_fitting(a, cid, places)
  local ids, at = line.first(cid, LOOKED_AT_FIRST)
  read_ahead(a, ids, at, places)
  local j, devices = fitting(a, ids, at, LOOKED_AT_FIRST)
  if j or #ids - at + 1 < LOOKED_AT_FIRST then
    return j, devices
  end
  local from = record.ask('HGET', key('class', cid), 'looked_at') or '-inf'
  local more = line.from(cid, from, LOOKED_AT_MORE)
  local last = #more == LOOKED_AT_MORE and '(' .. line.order(cid, more[#more]) or '-inf'
  redis.call('HSET', key('class', cid), 'looked_at', last)
  j, devices = fitting(a, more, 1, LOOKED_AT_MORE)
  if j then
    j.is_far = true
  end
  return j, devices
end

local function has_better(waiting, other)
  return waiting.best < other.best
end

-- The agent's classes that have pending jobs, the one with the best job first.
local function waiting_classes(a, left)
  local waiting = {}
  for _, place in ipairs(agent.places(a)) do
    local slots, taken = room.slots(a, place.kind, place.model, room.left(a))
    local may_have = taken < slots and agent.asks_for(a, place.kind) and (not left or left[place.kind] > 0)
    for _, cid in ipairs(may_have and place.classes or {}) do
      local best = line.best(cid)
      if best then
        waiting[#waiting + 1] = { id = cid, best = best, places = slots - taken, kind = place.kind }
      end
    end
  end
  if waiting[2] then
    table.sort(waiting, has_better)
  end
  return waiting
end

-- The same once the agent has got a job of these. If one class alone has any, only that one has to be looked at.
local function still_waiting(a, waiting, left)
  local only = waiting[1]
  if not only or waiting[2] or only.places < 2 or (left and left[only.kind] < 1) then
    return waiting_classes(a, left)
  end
  only.places, only.best = only.places - 1, line.best(only.id)
  return only.best and waiting or {}
end

-- The best pending job of these classes that the agent has room for, of those before an order; with its devices.
local function best_fitting(a, waiting, beyond)
  local j, devices
  for _, those in ipairs(waiting) do
    -- The best job of a class may not fit, and another class may have one before the next of this one.
    if those.best >= beyond or (j and those.best > j.order) then
      break
    end
    local found, its_devices = first_fitting(a, those.id, those.places)
    if found and found.order < beyond and (not j or job.goes_before(found, j)) then
      j, devices = found, its_devices
    end
  end
  return j, devices
end

-- What an agent that is held takes: what is more urgent, then the job that holds it, then what has room beside what is kept
-- for that one.
local function fitting_held(a, left)
  local holder = job:load(a.held)
  if not holder then
    agent:put(a, 'held', nil)
    return best_fitting(a, waiting_classes(a, left), math.huge)
  end
  local j, devices = best_fitting(a, waiting_classes(a, left), job.order_of(holder.prio, 0))
  if not j and (not left or left[holder.kind] > 0) then
    j, devices = fitting(a, { holder.id }, 1, 1)
  end
  if not j then
    return best_fitting(a, waiting_classes(a, left), math.huge)
  end
  return j, devices
end

-- Binds pending jobs to an agent that has room and waits for work: at most `most`, of each kind at most `left` has of it, or
-- as many as this script has units left for. What would be too much for one script is done later. A caller that hands them out
-- at once says how.
function queue.fill(a, left, most, hand_out)
  most = most or math.max(0, FILLED_AT_ONCE - pool.spent)
  if not agent.takes_work(a) or not line.is_any() then
    return
  end
  local waiting = {}
  for _ = 1, most do
    local j, devices
    if a.held then
      waiting, j, devices = {}, fitting_held(a, left)
    else
      waiting = still_waiting(a, waiting, left)
      j, devices = best_fitting(a, waiting, math.huge)
    end
    if not j then
      return
    end
    bind_waiting(j, a, devices, hand_out)
    if left then
      left[j.kind] = left[j.kind] - 1
    end
  end
  if not left then
    redis.call('ZADD', key('due'), int(pool.now), 'room:' .. a.id)
  end
end

-- Fills an agent that had more room than one script may fill.
function queue.settle_room(id)
  redis.call('ZREM', key('due'), 'room:' .. id)
  local a = agent:load(id)
  if a then
    queue.fill(a)
  end
end

return queue
