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

-- What a job takes of the agent that it goes to, as a live attempt that nobody has begun; whoever asks holds it, and ranks the
-- agent anew. `score` is the agent's, where the caller knows it. Should the job ever come back, it is past waiting in line.
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
  return { state = 'bound', number = j.attempt, lease = '', model = own_model(j, a), vram = vram_of(j, a, devices),
    devices = devices, ram = j.ram, cpus = j.cpus, since = pool.now, order = j.order, claim = 0, exclusive = j.exclusive,
    edge = a.edge or 0, ticket = j.ticket and true or nil }
end

-- Puts a job into the agent's queue with what it takes, `for_ms` if that is said. A claim brings no request that comes with a
-- ticket.
function binding.enqueue(j, a, reserved, for_ms)
  agent.hold(a, j.id, reserved, j.is_new)
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
