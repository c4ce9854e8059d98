-- measure: takes in what an agent says that it has left: clamped to what it registered, in coarse steps, written only
-- if a step was crossed, something else hinders it, or a live attempt may now be seen in the measurement.
local measure = {}

local STEPS_OF_TOTAL = 128
local LEAST_STEP_MB = 64

local function coarse(mb, total)
  local step = math.max(LEAST_STEP_MB, math.floor(total / STEPS_OF_TOTAL))
  return math.floor(math.max(0, math.min(mb, total)) / step) * step
end

local function coarse_rtt(ms)
  if ms < 50 then
    return math.floor(ms + 0.5)
  end
  return math.floor(ms / 5 + 0.5) * 5
end

local function gpus_of(a, reported)
  local by_uuid, gpus = {}, {}
  for _, m in ipairs(reported or {}) do
    by_uuid[m.uuid] = m
  end
  for _, device in ipairs(agent.caps(a).gpus) do
    local m = by_uuid[device.uuid]
    if m then
      gpus[device.uuid] = { free = coarse(m.free_mb, device.total),
        used = m.used_by_attempts_mb and coarse(m.used_by_attempts_mb, device.total) or nil }
    end
  end
  return gpus
end

local function hindrances_of(reported)
  local hindrances = {}
  for i, hindrance in ipairs(reported or {}) do
    hindrances[i] = { hindrance.kind, hindrance.why }
  end
  return hindrances[1] and hindrances
end

local function are_alike(old, new)
  if not old or not new or #old ~= #new then
    return old == new
  end
  for i, hindrance in ipairs(new) do
    if old[i][1] ~= hindrance[1] or old[i][2] ~= hindrance[2] then
      return false
    end
  end
  return true
end

local function is_same(old, new)
  if old.ram ~= new.ram or not are_alike(old.hindered, new.hindered) then
    return false
  end
  for uuid, m in pairs(new.gpus) do
    local o = old.gpus and old.gpus[uuid]
    if not o or o.free ~= m.free or o.used ~= m.used then
      return false
    end
  end
  return true
end

-- Takes a measurement (JSON, as in the heartbeat) in.
function measure.take(a, json)
  if json == '' then
    return
  end
  local m = cjson.decode(json)
  local seen = {}
  for _, job_id in ipairs(m.seen or {}) do
    seen[job_id] = true
  end
  local new = { gpus = gpus_of(a, m.gpus), seen = seen, at = pool.now,
    ram = m.ram_free_mb and coarse(m.ram_free_mb, agent.caps(a).ram) or nil, hindered = hindrances_of(m.hindered_by) }
  local old = agent.measured(a) or {}
  if next(agent.tally(a).heavy) or not is_same(old, new) then
    agent:put(a, 'measured_packed', cmsgpack.pack(new))
    a.left = nil
  end
  if m.rtt_ms then
    agent:put(a, 'rtt', coarse_rtt(m.rtt_ms))
  end
end

return measure
