-- fit: whether an agent has room for a job, and on which devices.
local fit = {}

-- Why a job of this need could never run on an agent with these capabilities; nil if it could.
-- need = {kind, model, gpus, vram, ram, cpus (milli)}, class = {kind, model, gpus, labels = {{name, value}…}}.
function fit.never(caps, class, need)
  if class.kind == 'process' and not caps.processes then
    return 'kind'
  end
  if class.kind ~= 'process' and not caps.models[class.model] then
    return 'model'
  end
  for _, label in ipairs(class.labels) do
    if caps.labels[label[1]] ~= label[2] then
      return 'labels'
    end
  end
  if #caps.gpus < class.gpus then
    return 'gpus'
  end
  if not need then
    return nil
  end
  local large_enough = 0
  for _, device in ipairs(caps.gpus) do
    if device.total >= need.vram then
      large_enough = large_enough + 1
    end
  end
  if need.gpus > 0 and large_enough < need.gpus then
    return 'vram'
  end
  if caps.ram < need.ram then
    return 'ram'
  end
  if caps.cpus < need.cpus then
    return 'cpus'
  end
  return nil
end

-- The devices that fit best: of those with room the ones with the least; nil if there are too few.
local function best_devices(left, need)
  local fitting = {}
  for i, device in ipairs(left.devices) do
    if device.left >= need.vram then
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

-- The devices for a job that the agent has room for now (none for a job without GPUs); nil and why not otherwise.
function fit.now(a, need)
  local slots, taken = agent.slots(a, need.kind, need.model)
  if taken >= slots then
    return nil, 'slots'
  end
  local left = agent.left(a)
  if left.ram < need.ram then
    return nil, 'ram_free'
  end
  if left.cpus < need.cpus then
    return nil, 'cpus_free'
  end
  if need.gpus == 0 then
    return {}
  end
  local devices = best_devices(left, need)
  if not devices then
    return nil, 'vram_free'
  end
  return devices
end

return fit
