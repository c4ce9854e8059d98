-- attempt: a job's way through an agent: bound, claimed, ended or taken back.
local attempt = {}

local PARKED_MS = 1000

-- Reserves what the job needs and puts it into the agent's queue.
function attempt.bind(j, a, devices)
  agent:put(a, 'used_seq', pool.next_seq())
  job:put(j, 'score', math.floor((rank.score(a, { kind = j.kind, model = j.model, gpus = j.gpus })) * 1e6) / 1e6)
  agent.hold(a, j.id, { st = 'b', n = j.attempt, l = '', k = j.kind == 'process' and '' or j.model, v = j.vram,
    d = devices, r = j.ram, c = j.cpus, at = pool.now, o = j.order, q = 0 })
  local patience = a.reach_ms - pool.now > PARKED_MS and pool.claim or math.max(pool.claim, pool.interval)
  job:put(j, 'agent', a.id)
  job:put(j, 'bound_until', pool.now + patience)
  job.move(j, 'scheduled')
  job.wake_at(j, pool.now + patience)
  rank.update(a)
  pool.announce('agent', a.id)
end

-- Takes a bound job out of the agent's queue again. The caller says where it goes.
function attempt.unbind(j, a)
  agent.release(a, j.id)
  job:put(j, 'agent', nil)
  job:put(j, 'bound_until', nil)
end

-- Hands a bound job to its agent under a lease, as a new attempt.
function attempt.claim(j, a, nonce, number)
  local entry = agent.live(a)[j.id]
  job.drop_output(j, j.attempt)
  job:put(j, 'attempt', j.attempt + 1)
  job:put(j, 'lease', nonce .. '-' .. j.attempt)
  job:put(j, 'lease_until', pool.now + pool.lease)
  job:put(j, 'bound_until', nil)
  job:put(j, 'out', 0)
  job:put(j, 'started', nil)
  job:put(j, 'devices', table.concat(entry.d, ','))
  for _, field in ipairs({ 'exit', 'signal', 'reason', 'message' }) do
    job:put(j, field, nil)
  end
  entry.st, entry.n, entry.l, entry.at, entry.q = 'r', j.attempt, j.lease, pool.now, number
  agent.hold(a, j.id, entry)
  job.move(j, 'running')
  job.wake_at(j, j.lease_until + pool.grace)
end

-- Whether this lease is the agent's current attempt of the job.
function attempt.is_current(a, job_id, number, lease)
  local entry = agent.live(a)[job_id]
  return entry ~= nil and entry.st ~= 'b' and entry.n == number and entry.l == lease
end

-- The processes of an attempt are gone whose job was cancelled before.
function attempt.buried(j, a)
  agent.release(a, j.id)
  job:put(j, 'cancelling', nil)
  job:put(j, 'lease_until', nil)
  job.wake_at(j, j.ended + pool.job_keep)
  pool.announce('job', j.id)
end

return attempt
