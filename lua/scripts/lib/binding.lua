-- binding: a job in the queue of an agent, with what it needs reserved.
local binding = {}

local PARKED_MS = 1000

-- Reserves what the job needs and puts it into the agent's queue. Should the job ever come back, it is past waiting in line.
function binding.bind(j, a, devices)
  if j.holds then
    held.free(j)
  end
  job:put(j, 'order', j.order or job.order_of(j.prio, 0))
  agent:put(a, 'used_seq', pool.next_seq())
  job:put(j, 'score', math.floor(rank.score(a, j) * 1e6) / 1e6)
  agent.hold(a, j.id, { state = 'bound', number = j.attempt, lease = '', model = j.kind == 'process' and '' or j.model,
    vram = j.vram, devices = devices, ram = j.ram, cpus = j.cpus, since = pool.now, order = j.order, claim = 0,
    exclusive = j.exclusive })
  local patience = a.reach_ms - pool.now > PARKED_MS and pool.claim or math.max(pool.claim, pool.interval)
  job:put(j, 'agent', a.id)
  job:put(j, 'bound_until', pool.now + patience)
  job.move(j, 'scheduled')
  job.wake_at(j, pool.now + patience)
  rank.update(a)
  pool.announce('agent', a.id)
end

-- Takes a bound job out of the agent's queue again. The caller says where it goes.
function binding.unbind(j, a)
  agent.release(a, j.id)
  job:put(j, 'agent', nil)
  job:put(j, 'bound_until', nil)
end

return binding
