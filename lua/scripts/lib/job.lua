-- job: one job's record, and its place in the order of its class.
--
-- Packing costs by the number of values, whether they are there or not, so a record has three parts: a row of what changes as
-- a job goes on; in that row, packed once and handed on as it is, what was submitted; and by name what few jobs have.
--
-- Jobs that were submitted alike and at once share what was submitted: it is unpacked once, and each has it through its metatable.
-- So it must not change: a change would not be written.
local REMEMBERED = 512

local job = record.kind('job', REMEMBERED)

local MEMBERSHIP = { blocked = true, delayed = true, scheduled = true, running = true }

-- What was submitted, by the bytes that it is packed in.
local submitted = {}

calls.begin_with(function()
  submitted = next(submitted) and {} or submitted
end)

-- The coordinator packs the same of what it submits, but for the class and the time (see lua/src/jobs/submit.rs).
local function pack_submitted(j)
  return cmsgpack.pack(j.class, j.kind, j.model, j.gpus, j.vram, j.ram, j.cpus, j.prio, j.max, j.created, j.title, j.owner,
    j.backoff, j.exclusive, j.session, j.labels, j.grace, j.on_failure, j.idem)
end

-- What few jobs have.
local SELDOM = { 'signal', 'reason', 'message', 'frame', 'cancelling', 'avoid', 'refused', 'holds', 'not_before', 'needs',
  'dependents', 'suspects', 'probe', 'not_after', 'within', 'keeps', 'usage', 'ticket', 'receipt', 'wrote', 'marked', 'marked_at',
  'awaited' }
local IS_SELDOM = {}
for _, field in ipairs(SELDOM) do
  IS_SELDOM[field] = true
end

-- What a job has of that; nil if it is nothing.
local function seldom(j)
  local others
  for _, field in ipairs(SELDOM) do
    if j[field] then
      others = others or {}
      others[field] = j[field]
    end
  end
  return others
end

-- Changes a field; nil removes it. Of a job that was made here without any it is noted that it has what few have.
function job:put(j, field, value)
  if j[field] ~= value then
    j[field], j.changed = value, true
    if IS_SELDOM[field] then
      j.has_seldom = true
    end
  end
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

-- What was submitted, as those jobs have it of which these bytes are.
local function submission(as_submitted)
  local class, kind, model, gpus, vram, ram, cpus, prio, max, created, title, owner, backoff, exclusive, session, labels,
    grace, on_failure, idem = cmsgpack.unpack(as_submitted)
  local shared = {
    as_submitted = as_submitted, class = class, kind = kind, model = model, gpus = gpus, vram = vram, ram = ram, cpus = cpus,
    prio = prio, max = max, created = created, title = title, owner = owner, backoff = backoff, exclusive = exclusive,
    session = session, labels = labels, grace = grace, on_failure = on_failure, idem = idem,
  }
  shared.alike, shared.__index, shared.is_good = shared, shared, type(class) == 'string' and type(created) == 'number'
  submitted[as_submitted] = shared
  return shared
end

-- A table is made for as many fields as it begins with, up to the next power of two, and to make it larger takes as long as to
-- make it. So a job begins with what it soon has, be it nothing, and has room for 16; what it does not always have is put in after.
local function made(id, packed, attempt, state, as_submitted, order, score, agent, free, lease, lease_until, bound_until,
  started, ended, exit, out, devices, done, waits, others)
  local shared = submitted[as_submitted]
  if not shared then
    -- A row of schema 1 begins with a text.
    if type(attempt) == 'string' then
      return unpack_row(id, packed)
    end
    shared = submission(as_submitted)
  end
  local j = setmetatable({ id = id, changed = false, attempt = attempt, state = state, order = order, score = score, agent = agent,
    free = free, lease = lease, lease_until = lease_until, out = out, devices = devices }, shared)
  if started or ended or exit or done then
    j.started, j.ended, j.exit, j.done = started, ended, exit, done
  end
  if bound_until or waits then
    j.bound_until, j.waits = bound_until, waits
  end
  if others then
    j.has_seldom = true
    for name, value in pairs(others) do
      j[name] = value
    end
  end
  return j
end

function job.unpack(id, packed)
  return made(id, packed, cmsgpack.unpack(packed))
end

-- A new job, of which was submitted what `pack_submitted` packs.
function job.new(id, as_submitted)
  local shared = submitted[as_submitted] or submission(as_submitted)
  return setmetatable({ id = id, changed = false, is_new = true, attempt = 0, state = nil, order = nil, score = nil, agent = nil,
    free = 0, bound_until = nil, out = 0 }, shared)
end

-- What a script has made of a record that others will want.
function job.strip(j)
  if j.is_new or j.is_far then
    j.is_new, j.is_far = nil, nil
  end
  return not j.ended
end

function job.is_whole(j)
  return (MEMBERSHIP[j.state] or type(j.state) == 'string') and (j.out == 0 or type(j.out) == 'number')
    and (j.is_good or (type(j.class) == 'string' and type(j.created) == 'number'))
end

-- All that is known of a job, for those who ask for each field.
function job.fields(j)
  local fields = {}
  for _, part in ipairs({ j.alike or {}, j }) do
    for field, value in pairs(part) do
      fields[field] = value
    end
  end
  for _, own in ipairs({ 'as_submitted', 'alike', '__index', 'is_good', 'bound', 'changed', 'packed', 'has_seldom' }) do
    fields[own] = nil
  end
  return fields
end

function job.pack(j)
  local others = (j.has_seldom or not j.alike) and seldom(j) or nil
  return cmsgpack.pack(j.attempt, j.state, j.as_submitted or pack_submitted(j), j.order, j.score, j.agent, j.free, j.lease,
    j.lease_until, j.bound_until, j.started, j.ended, j.exit, j.out, j.devices, j.done, j.waits, others)
end

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

-- Those jobs in their order. To sort numbers and texts takes a fraction of what it takes to sort by a function.
function job.sorted(jobs)
  local orders, ids_of, by_id, sorted = {}, {}, {}, {}
  for i = 1, #jobs do
    local j = jobs[i]
    local order = j.order or 0
    local ids = ids_of[order]
    if not ids then
      ids = {}
      orders[#orders + 1], ids_of[order] = order, ids
    end
    ids[#ids + 1], by_id[j.id] = j.id, j
  end
  table.sort(orders)
  for _, order in ipairs(orders) do
    table.sort(ids_of[order])
    for _, id in ipairs(ids_of[order]) do
      sorted[#sorted + 1] = by_id[id]
    end
  end
  return sorted
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

-- When the processes of its attempt must be gone, whatever has become of the box. A job that is kept may go on for its own time.
function job.gone_at(j)
  return j.lease_until + pool.grace + (j.grace or 0)
end

-- Notes that somebody waits for the answer of a job that goes on only as long as somebody does: he is taken to wait for as long as
-- a lease lasts. Written five times in that, however often it is said.
function job.await(j)
  if j.awaited and not j.ended and j.awaited <= pool.now + pool.lease * 0.8 then
    job:put(j, 'awaited', pool.now + pool.lease)
  end
end

-- Whether nobody has said for so long that he waits, and nothing has kept him from that.
function job.is_forsaken(j)
  return j.awaited ~= nil and pool.now >= j.awaited and pool.now >= pool.amnesty
end

-- Whether it may not begin any more: nobody waits for the answer, or it is a ticket, which is good for one agent.
function job.is_too_late(j)
  return j.ticket ~= nil or (j.not_after ~= nil and pool.now >= j.not_after) or job.is_forsaken(j)
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
