-- room: what an agent has left beside its live attempts.
local room = {}

local SEEN_AFTER_MS = 60000
-- For all agents that have none of something: nobody changes it.
local NOTHING = {}

-- What is left of a device: what was measured as free, and what our attempts were seen to use of what they declared,
-- less all that they declared; nothing if one has it to itself. How many attempts are on it, whether one has it to itself,
-- and what would be left without them all.
local function device_left(device, measured, heavy)
  local total = device.total
  local m = measured and measured.gpus and measured.gpus[device.uuid]
  local free, used, seen = total, nil, {}
  if m and m.free then
    free, used, seen = m.free, m.used, measured.seen or {}
  end
  local declared, declared_seen, declared_unseen, attempts, is_closed = 0, 0, 0, 0, false
  for job_id, entry in pairs(heavy) do
    for _, uuid in ipairs(entry.devices) do
      if uuid == device.uuid then
        attempts, is_closed = attempts + 1, is_closed or entry.exclusive
        declared = declared + entry.vram
        local is_seen = m and (seen[job_id] or (used == nil and measured.at - entry.since >= SEEN_AFTER_MS))
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
  local most = math.min(total, free + (used or declared_seen))
  return is_closed and 0 or math.max(0, math.min(left, total - declared)), attempts, is_closed, most
end

local function devices_left(devices, measured, heavy)
  local those = {}
  for i, device in ipairs(devices) do
    local free, attempts, closed, most = device_left(device, measured, heavy)
    those[i] = { uuid = device.uuid, total = device.total, left = free, attempts = attempts, closed = closed, most = most }
  end
  return those
end

-- What is left: {loading = {name = true: an attempt has memory for it}, ram, cpus (milli),
-- devices = {{uuid, total, left, attempts, closed: an attempt has it to itself, most: what it could have left}…},
-- kept: slots that are kept, where that was taken off}.
function room.left(a)
  if a.left then
    return a.left
  end
  local caps, tally, measured = agent.caps(a), agent.tally(a), agent.measured(a)
  local heavy = next(tally.heavy) and agent.heavy(a) or NOTHING
  local left = { loading = NOTHING, ram = caps.ram, cpus = math.max(0, caps.cpus - tally.cpus), devices = NOTHING, parts = nil }
  local unseen_ram = 0
  if heavy ~= NOTHING then
    left.loading = {}
    for _, entry in pairs(heavy) do
      left.loading[entry.model] = left.loading[entry.model] or #entry.devices > 0
      left.ram = left.ram - entry.ram
      if not measured or measured.at - entry.since < SEEN_AFTER_MS then
        unseen_ram = unseen_ram + entry.ram
      end
    end
  end
  if measured and measured.ram then
    left.ram = math.min(left.ram, measured.ram - unseen_ram)
  end
  left.ram = math.max(0, left.ram)
  if caps.gpus[1] then
    left.devices = devices_left(caps.gpus, measured, heavy)
  end
  a.left = left
  return left
end

-- What is left beside what is kept for the job that holds the agent: as if that job were there already.
function room.beside(a)
  local left, holder = room.left(a), a.held and job:load(a.held)
  if not holder then
    return left
  end
  local beside = { kept = 1, loading = left.loading, ram = math.max(0, left.ram - holder.ram),
    cpus = math.max(0, left.cpus - holder.cpus), devices = {} }
  local kept = {}
  for _, uuid in ipairs((agent.kept(a))) do
    kept[uuid] = true
  end
  for i, device in ipairs(left.devices) do
    if kept[device.uuid] then
      device = { uuid = device.uuid, total = device.total, left = math.max(0, device.left - holder.vram),
        attempts = device.attempts + 1, closed = device.closed or holder.exclusive, most = device.most }
    end
    beside.devices[i] = device
  end
  return beside
end

-- Whether a job that wants its devices to itself, or shares them, could have this one at all.
function room.is_open(device, exclusive)
  if exclusive then
    return device.attempts == 0
  end
  return not device.closed
end

-- Slots for a kind of work, and how many of them are taken where this much is left.
function room.slots(a, kind, model, left)
  local tally, caps = a.tally or agent.tally(a), a.caps or agent.caps(a)
  if kind == 'process' then
    return caps.max_jobs, tally.processes + (left.kept or 0)
  end
  local served = caps.models[model]
  local own = served and served.of or model
  return served and room.parallel(a, served, own) or 0, tally.models[own] or 0
end

-- How many requests its backend gets at once to a model that it serves, `own` by its own name: none while it cools down after
-- failures, one as a trial after that.
function room.parallel(a, served, own)
  local history = agent.served(a)[own]
  local until_ms = history and history.until_ms
  if until_ms and pool.now < until_ms then
    return 0
  end
  return until_ms and 1 or served.parallel
end

-- Where a model would be loaded for a request: on the device that fits best or, since its backend may part it, on all
-- together, of what is `left`; nowhere if it is loaded, about to be, or needs no memory of a device. nil if there is no room for it.
function room.devices_for(a, model, left)
  local served = agent.model(a, model)
  if served.loaded or served.vram == 0 or #left.devices == 0 or left.loading[served.of or model] then
    return {}
  end
  local best, all, sum = nil, {}, 0
  for i, device in ipairs(left.devices) do
    if device.left >= served.vram and (not best or device.left < best.left) then
      best = device
    end
    all[i], sum = device.uuid, sum + device.left
  end
  if best then
    return { best.uuid }
  end
  return sum >= served.vram and all or nil
end

return room
