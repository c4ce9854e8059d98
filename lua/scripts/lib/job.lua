-- job: one job's record, and its place in the order of its class.
--
-- Packing costs by the number of values, whether they are there or not, so a record has three parts: a row of what changes as
-- a job goes on; in that row, packed once and handed on as it is, what was submitted; and by name what few jobs have.
local job = record.kind('job')

-- What was submitted, packed, by record. It must not change: a change would not be written.
local submitted = {}

calls.begin_with(function()
  submitted = next(submitted) and {} or submitted
end)

-- The coordinator packs the same of what it submits, but for the class and the time (see lua/src/jobs/submit.rs).
local function pack_submitted(j)
  return cmsgpack.pack(j.class, j.kind, j.model, j.gpus, j.vram, j.ram, j.cpus, j.prio, j.max, j.created, j.title, j.owner,
    j.backoff, j.exclusive, j.session, j.labels, j.grace, j.on_failure, j.idem)
end

-- What few jobs have; nil if this one has nothing of it.
local function seldom(j)
  if j.signal or j.reason or j.message or j.frame or j.cancelling or j.avoid or j.refused or j.holds or j.not_before or j.needs
    or j.dependents or j.suspects or j.probe or j.not_after or j.within or j.keeps or j.usage or j.ticket or j.receipt or j.wrote
    or j.marked or j.marked_at then
    return { signal = j.signal, reason = j.reason, message = j.message, frame = j.frame, cancelling = j.cancelling,
      avoid = j.avoid, refused = j.refused, holds = j.holds, not_before = j.not_before, needs = j.needs,
      dependents = j.dependents, suspects = j.suspects, probe = j.probe, not_after = j.not_after, within = j.within,
      keeps = j.keeps, usage = j.usage, ticket = j.ticket, receipt = j.receipt, wrote = j.wrote, marked = j.marked,
      marked_at = j.marked_at }
  end
  return nil
end

-- What schema 1 has written: all values in one row, of which the first is the state.
local function unpack_row(id, packed)
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

-- A table of up to 32 fields has half the room, and so costs half, of one with more: what few jobs have is put in after. So is
-- what a job does not always have, since it takes as long to say that there is nothing.
local function made(id, attempt, state, as_submitted, order, score, agent, free, lease, lease_until, bound_until, started, ended,
  exit, out, devices, done, waits, others)
  local class, kind, model, gpus, vram, ram, cpus, prio, max, created, title, owner, backoff, exclusive, session, labels,
    grace, on_failure, idem = cmsgpack.unpack(as_submitted)
  local j = {
    id = id, state = state, attempt = attempt, order = order, free = free, out = out, class = class, kind = kind, model = model,
    gpus = gpus, vram = vram, ram = ram, cpus = cpus, prio = prio, max = max, created = created, title = title, owner = owner,
    backoff = backoff,
  }
  submitted[j] = as_submitted
  if agent or score then
    j.agent, j.score = agent, score
  end
  if lease or lease_until or devices then
    j.lease, j.lease_until, j.devices = lease, lease_until, devices
  end
  if started or ended or exit or done then
    j.started, j.ended, j.exit, j.done = started, ended, exit, done
  end
  if bound_until or waits then
    j.bound_until, j.waits = bound_until, waits
  end
  if exclusive or session or labels or grace or on_failure or idem then
    j.exclusive, j.session, j.labels, j.grace, j.on_failure, j.idem = exclusive, session, labels, grace, on_failure, idem
  end
  if others then
    for name, value in pairs(others) do
      j[name] = value
    end
  end
  return j
end

function job.unpack(id, packed)
  -- Its first byte tells a number from a text, with which schema 1 begins.
  local first = string.byte(packed)
  if first >= 160 and first < 192 then
    return unpack_row(id, packed)
  end
  return made(id, cmsgpack.unpack(packed))
end

-- A new job, of which was submitted what `pack_submitted` packs.
function job.new(id, as_submitted)
  local j = made(id, 0, nil, as_submitted, nil, nil, nil, 0, nil, nil, nil, nil, nil, nil, 0)
  j.is_new = true
  return j
end

function job.is_whole(j)
  return type(j.state) == 'string' and type(j.class) == 'string' and type(j.created) == 'number' and type(j.out) == 'number'
end

function job.pack(j)
  local as_submitted = submitted[j]
  if not as_submitted then
    as_submitted = pack_submitted(j)
    submitted[j] = as_submitted
  end
  return cmsgpack.pack(j.attempt, j.state, as_submitted, j.order, j.score, j.agent, j.free, j.lease, j.lease_until,
    j.bound_until, j.started, j.ended, j.exit, j.out, j.devices, j.done, j.waits, seldom(j))
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

-- Whether a job goes before another. Between equals Lua goes by the locale of the server, while Redis compares byte by byte; but
-- this only orders what a script has in its hands, and nothing is looked up by it.
function job.goes_before(j, other)
  return j.order < other.order or (j.order == other.order and j.id < other.id)
end

-- Moves a job from state to state, keeping the sets by state.
function job.move(j, state)
  if MEMBERSHIP[j.state] then
    sets.leave(j.state, j.id)
  end
  if MEMBERSHIP[state] then
    sets.enter(state, j.id)
  end
  job:put(j, 'state', state)
  if not j.is_new then
    pool.announce('job', j.id)
  end
end

-- Sets when the job has to be looked at next.
function job.wake_at(j, ms)
  sets.enter('due', 'job:' .. j.id, ms)
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
