-- agent: one agent's record, what it has, what its live attempts take of it, and what is left.
--
-- `caps` is what it registered with, `measured` its last measurement, `live` its attempts: bound, running or ending.
local agent = record.kind('agent', {
  'state', 'epoch', 'instance', 'seq', 'claim', 'next_ms', 'seen_ms', 'registered_ms', 'reach_ms', 'used_seq', 'draining',
  'leaving', 'rtt', 'read_ms', 'on_time', 'offline_ms', 'caps_packed', 'measured_packed', 'places_packed',
  'standing_packed', 'past',
})

local SEEN_AFTER_MS = 60000

local function unpacked(a, field)
  local packed = field .. '_packed'
  if a[field] == nil then
    a[field] = a[packed] and cmsgpack.unpack(a[packed]) or {}
  end
  return a[field]
end

function agent.caps(a)
  return unpacked(a, 'caps')
end

-- The classes that it is a member of, those with the same score together: {{kind, model, gpus, classes = {id…}}…}.
function agent.places(a)
  return unpacked(a, 'places')
end

-- Where it stands in the ranks of these classes: step and value by turns, in the order of `places`; the step is -1 while
-- it stands in none.
function agent.standing(a)
  return unpacked(a, 'standing')
end

-- Replaces a packed part.
function agent.pack(a, field, value)
  a[field] = value
  agent:put(a, field .. '_packed', cmsgpack.pack(value))
end

local ATTEMPT = { 'state', 'number', 'lease', 'model', 'vram', 'devices', 'ram', 'cpus', 'since', 'order', 'claim' }

-- The live attempts by job: state (bound, running or ending), number, lease, model ("" for a process), VRAM on each of
-- its devices, RAM, milli-CPUs, since when, the job's order, and the number of the claim that brought it.
function agent.live(a)
  if not a.live then
    a.live = {}
    local flat = redis.call('HGETALL', key('live', a.id))
    for i = 1, #flat, 2 do
      local entry, values = {}, cmsgpack.unpack(flat[i + 1])
      for n = 1, #ATTEMPT do
        entry[ATTEMPT[n]] = values[n]
      end
      a.live[flat[i]] = entry
    end
  end
  return a.live
end

-- What is left after a new attempt without devices, without working it all out again.
local function take_from_left(left, entry)
  if entry.model == '' then
    left.processes = left.processes + 1
  else
    left.models[entry.model] = (left.models[entry.model] or 0) + 1
  end
  left.ram, left.cpus = math.max(0, left.ram - entry.ram), math.max(0, left.cpus - entry.cpus)
end

-- Adds a live attempt, or changes one, which takes what it took before.
function agent.hold(a, job_id, entry)
  local live = agent.live(a)
  if not live[job_id] and a.left and #entry.devices == 0 then
    take_from_left(a.left, entry)
  elseif live[job_id] ~= entry then
    a.left = nil
  end
  live[job_id] = entry
  local values = {}
  for n = 1, #ATTEMPT do
    values[n] = entry[ATTEMPT[n]]
  end
  redis.call('HSET', key('live', a.id), job_id, cmsgpack.pack(values))
end

-- Ends a live attempt: what it had reserved is free.
function agent.release(a, job_id)
  agent.live(a)[job_id] = nil
  a.left = nil
  redis.call('HDEL', key('live', a.id), job_id)
end

-- What is left of a device: what was measured as free, and what our attempts were seen to use of what they declared,
-- less all that they declared.
local function device_left(device, measured, live)
  local total = device.total
  local free, used, seen = total, nil, {}
  if measured and measured.free then
    free, used, seen = measured.free, measured.used, measured.seen or {}
  end
  local declared, declared_seen, declared_unseen = 0, 0, 0
  for job_id, entry in pairs(live) do
    for _, uuid in ipairs(entry.devices) do
      if uuid == device.uuid then
        declared = declared + entry.vram
        local is_seen = measured and (seen[job_id] or (used == nil and measured.at - entry.since >= SEEN_AFTER_MS))
        if is_seen then
          declared_seen = declared_seen + entry.vram
        else
          declared_unseen = declared_unseen + entry.vram
        end
      end
    end
  end
  local left = free - declared_unseen
  if used then
    left = left + used - math.max(declared_seen, used)
  end
  return math.max(0, math.min(left, total - declared))
end

-- What is left: {processes, models = {name = n}, ram, cpus (milli), devices = {{uuid, total, left}…}}.
function agent.left(a)
  if a.left then
    return a.left
  end
  local caps, live, measured = agent.caps(a), agent.live(a), unpacked(a, 'measured')
  local left = { processes = 0, models = {}, ram = caps.ram, cpus = caps.cpus, devices = {} }
  local unseen_ram = 0
  for _, entry in pairs(live) do
    if entry.model == '' then
      left.processes = left.processes + 1
    else
      left.models[entry.model] = (left.models[entry.model] or 0) + 1
    end
    left.ram = left.ram - entry.ram
    left.cpus = left.cpus - entry.cpus
    if not measured.at or measured.at - entry.since < SEEN_AFTER_MS then
      unseen_ram = unseen_ram + entry.ram
    end
  end
  if measured.ram then
    left.ram = math.min(left.ram, measured.ram - unseen_ram)
  end
  left.ram, left.cpus = math.max(0, left.ram), math.max(0, left.cpus)
  for i, device in ipairs(caps.gpus) do
    local m = measured.gpus and measured.gpus[device.uuid]
    local seen = m and { free = m.free, used = m.used, seen = measured.seen, at = measured.at }
    left.devices[i] = { uuid = device.uuid, total = device.total, left = device_left(device, seen, live) }
  end
  a.left = left
  return left
end

-- Slots for a kind of work, and how many of them are taken.
function agent.slots(a, kind, model)
  local left = agent.left(a)
  if kind == 'process' then
    return agent.caps(a).max_jobs, left.processes
  end
  local served = agent.caps(a).models[model]
  return served and served.parallel or 0, left.models[model] or 0
end

-- Whether it may be bound to new work now: in service, and waiting for it or due to call within a moment.
function agent.takes_work(a)
  return (a.state == 'healthy' or a.state == 'degraded') and not a.draining and not a.leaving
    and a.reach_ms >= pool.now
end

-- Whether anybody follows the output of one of its jobs.
function agent.watched(a)
  return (a.read_ms or 0) >= pool.now and '1' or '0'
end

-- Jobs that it has to cancel.
function agent.cancelled(a)
  local ids = {}
  for job_id, entry in pairs(agent.live(a)) do
    if entry.state == 'ending' then
      ids[#ids + 1] = job_id
    end
  end
  return ids
end

-- The agent of a call. Returns nil and a reply that turns it away if it is not the current incarnation.
function agent.caller(id, epoch)
  local a = agent:load(id)
  local owner = redis.call('HGET', key('identities'), id)
  if owner and string.sub(owner, 1, 1) == '-' then
    return nil, { 'removed' }
  end
  if not a or epoch > a.epoch then
    return nil, { 'unknown_agent' }
  end
  if epoch < a.epoch then
    return nil, { 'superseded' }
  end
  pool.hear()
  return a
end

return agent
