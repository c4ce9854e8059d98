-- job: one job's record, and its place in the order of its class.
local job = record.kind('job')

function job.unpack(id, packed)
  local state, class, kind, model, gpus, vram, ram, cpus, prio, order, max, created, title, score, agent, attempt,
    free, lease, lease_until, bound_until, started, ended, exit, signal, reason, message, done, out, frame,
    cancelling, devices, avoid, refused, owner, exclusive, holds, waits, backoff, labels, grace, not_before, needs,
    on_failure, dependents, idem, suspects, probe, not_after, keeps, usage, session, ticket, receipt, wrote,
    marked, marked_at, within = cmsgpack.unpack(packed)
  return {
    id = id, state = state, class = class, kind = kind, model = model, gpus = gpus, vram = vram, ram = ram,
    cpus = cpus, prio = prio, order = order, max = max, created = created, title = title, score = score,
    agent = agent, attempt = attempt, free = free, lease = lease, lease_until = lease_until,
    bound_until = bound_until, started = started, ended = ended, exit = exit, signal = signal, reason = reason,
    message = message, done = done, out = out, frame = frame, cancelling = cancelling, devices = devices,
    avoid = avoid, refused = refused, owner = owner, exclusive = exclusive, holds = holds, waits = waits,
    backoff = backoff, labels = labels, grace = grace, not_before = not_before, needs = needs,
    on_failure = on_failure, dependents = dependents, idem = idem,
    suspects = suspects, probe = probe, not_after = not_after, keeps = keeps, usage = usage, session = session,
    ticket = ticket, receipt = receipt, wrote = wrote, marked = marked, marked_at = marked_at,
    within = within,
  }
end

function job.is_whole(j)
  return type(j.state) == 'string' and type(j.class) == 'string' and type(j.created) == 'number' and type(j.out) == 'number'
end

function job.pack(j)
  return cmsgpack.pack(
    j.state, j.class, j.kind, j.model, j.gpus, j.vram, j.ram, j.cpus, j.prio, j.order, j.max, j.created, j.title,
    j.score, j.agent, j.attempt, j.free, j.lease, j.lease_until, j.bound_until, j.started, j.ended, j.exit, j.signal,
    j.reason, j.message, j.done, j.out, j.frame, j.cancelling, j.devices, j.avoid, j.refused, j.owner, j.exclusive,
    j.holds, j.waits, j.backoff, j.labels, j.grace, j.not_before, j.needs, j.on_failure, j.dependents, j.idem,
    j.suspects, j.probe, j.not_after, j.keeps, j.usage, j.session, j.ticket, j.receipt,
    j.wrote, j.marked, j.marked_at, j.within
  )
end

local MEMBERSHIP = { blocked = true, delayed = true, scheduled = true, running = true }

-- Lower goes first: by priority, then by tag (see lib/fair); of equals the smaller id, which is the older. Exact in a double:
-- up to 1,001 priorities on each side of 0, times 2^43 tags, is less than 2^53.
function job.order_of(priority, tag)
  return -priority * 8796093022208 + tag
end

-- The priority of an order.
function job.priority_of(order)
  return -math.floor(order / 8796093022208)
end

-- Whether a job goes before another.
function job.goes_before(j, other)
  return j.order < other.order or (j.order == other.order and j.id < other.id)
end

-- Moves a job from state to state, keeping the sets by state.
function job.move(j, state)
  if MEMBERSHIP[j.state] then
    redis.call('SREM', key(j.state), j.id)
  end
  if MEMBERSHIP[state] then
    redis.call('SADD', key(state), j.id)
  end
  job:put(j, 'state', state)
  if not j.is_new then
    pool.announce('job', j.id)
  end
end

-- Sets when the job has to be looked at next.
function job.wake_at(j, ms)
  redis.call('ZADD', key('due'), int(ms), 'job:' .. j.id)
end

-- Whether it may not begin any more: nobody waits for the answer, or it is a ticket, which is good for one agent.
function job.is_too_late(j)
  return j.ticket ~= nil or (j.not_after ~= nil and pool.now >= j.not_after)
end

-- An agent had begun it in time: the next one has as long for that as the first had.
function job.has_its_time_again(j)
  if j.within then
    job:put(j, 'not_after', pool.now + j.within)
  end
end

-- Whether somebody may have read a part of the answer, which another attempt would give in other words.
function job.has_answered(j)
  return j.kind ~= 'process' and j.out > 0
end

-- Attempts that count against max.
function job.spent(j)
  return j.attempt - j.free
end

return job
