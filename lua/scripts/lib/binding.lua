-- binding: a job in the queue of an agent, with what it needs reserved.
local binding = {}

local PARKED_MS = 1000

local function own_model(j, a)
  return j.kind == 'process' and '' or agent.own_name(a, j.model)
end

-- What a job takes of each of its devices. A model that is to be loaded takes what the agent says, spread over them.
local function vram_of(j, a, devices)
  if j.kind == 'process' or #devices == 0 then
    return j.vram
  end
  return math.ceil(agent.model(a, j.model).vram / #devices)
end

-- The terms of an attempt that nobody has begun. Those of processes without devices are the same for jobs that were submitted
-- alike and are bound at the same time: what jobs share may be remembered with one that this script has not had (see lib/record).
local function terms_of(j, a, devices)
  local edge, alike = a.edge or 0, j.kind == 'process' and not devices[1] and not j.ticket and j.alike
  local known = alike and alike.bound
  if known and known.edge == edge and known.since == pool.now then
    return known
  end
  local those = terms.of(own_model(j, a), vram_of(j, a, devices), devices, j.ram, j.cpus, pool.now, 0, j.exclusive, edge,
    j.ticket and true or nil)
  if alike then
    alike.bound = those
  end
  return those
end

-- Reserves what a job takes of the agent that it goes to, and gives its terms; whoever asks holds it, and ranks the agent anew.
-- `score` is the agent's, where the caller knows it. Should the job ever come back, it is past waiting in line.
function binding.reserve(j, a, devices, score)
  if j.holds then
    held.free(j)
  end
  agent:put(a, 'used_seq', pool.next_seq())
  j.order, j.score = j.order or job.order_of(j.prio, 0), math.floor((score or rank.score(a, j)) * 1e6) / 1e6
  j.agent, j.changed = a.id, true
  if a.state == 'half_open' then
    agent.put_trial(a, j.id)
  end
  return terms_of(j, a, devices)
end

-- Puts a job into the agent's queue on these terms, `for_ms` if that is said. A claim brings no request that comes with a
-- ticket.
function binding.enqueue(j, a, reserved, for_ms)
  agent.hold(a, j.id, terms.unbegun(j.attempt, reserved), j.is_new)
  local patience = for_ms or (a.reach_ms - pool.now > PARKED_MS and pool.claim or math.max(pool.claim, pool.interval))
  j.bound_until = pool.now + patience
  job.move(j, 'scheduled')
  job.wake_at(j, j.bound_until)
  if not j.ticket then
    pool.announce('agent', a.id)
  end
end

-- Reserves what the job needs and puts it into the agent's queue.
function binding.bind(j, a, devices, for_ms)
  binding.enqueue(j, a, binding.reserve(j, a, devices), for_ms)
  rank.update(a)
end

-- Takes a bound job out of the agent's queue again. The caller says where it goes.
function binding.unbind(j, a)
  agent.release(a, j.id)
  job:put(j, 'agent', nil)
  job:put(j, 'bound_until', nil)
end

return binding
