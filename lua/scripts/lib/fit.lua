-- fit: whether an agent has room for a job now, and on which devices.
local fit = {}

-- The devices that fit best: of those with room the ones with the least; nil if there are too few.
local function best_devices(left, need)
  local fitting = {}
  for i, device in ipairs(left.devices) do
    if device.left >= need.vram and room.is_open(device, need.exclusive) then
      fitting[#fitting + 1] = { uuid = device.uuid, left = device.left, at = i }
    end
  end
  if #fitting < need.gpus then
    return nil
  end
  table.sort(fitting, function(x, y) return x.left < y.left or (x.left == y.left and x.at < y.at) end)
  local chosen = {}
  for i = 1, need.gpus do
    chosen[i] = fitting[i].uuid
  end
  return chosen
end

-- Whether a half-open agent may have the job as its trial: it is on none, and the job has another attempt left.
local function may_be_trial(a, need)
  return not agent.trouble(a).trial and (need.probe or need.max - need.attempt + need.free > 1)
end

-- The devices for a job that has room now in what is left of the agent (none for a job without GPUs); nil and why not
-- otherwise. The caller may know how many slots the agent has, and how many of them are taken.
function fit.now(a, need, left, slots, taken)
  if a.state == 'half_open' and not may_be_trial(a, need) then
    return nil, 'half_open'
  end
  if not agent.asks_for(a, need.kind) then
    return nil, 'not_waiting'
  end
  if not slots then
    slots, taken = room.slots(a, need.kind, need.model, left)
  end
  if slots == 0 and need.kind ~= 'process' then
    return nil, 'cooling'
  elseif taken >= slots then
    return nil, 'slots'
  end
  if left.ram < need.ram then
    return nil, 'ram_free'
  end
  if left.cpus < need.cpus then
    return nil, 'cpus_free'
  end
  if need.kind ~= 'process' then
    local where = room.devices_for(a, need.model, left)
    return where, not where and 'vram_free' or nil
  elseif need.gpus == 0 then
    return {}
  end
  local devices = best_devices(left, need)
  if not devices then
    return nil, need.exclusive and 'gpus_free' or 'vram_free'
  end
  return devices
end

-- The devices for a job beside what the agent keeps for another; the job that holds it, and what is more urgent than that
-- one, may have what is kept too. nil and why not if it has no room.
function fit.for_job(a, j)
  local devices, why = fit.now(a, j, room.beside(a))
  local holder = not devices and a.held and job:load(a.held)
  if holder and (holder == j or holder.prio < j.prio) then
    return fit.now(a, j, room.left(a))
  end
  return devices, why
end

return fit
