-- capable: whether an agent could ever run a job, had it nothing else to do.
local capable = {}

-- Why an agent of its class could never run a job of this need; nil if it could.
function capable.lacks_for(a, need)
  local caps = agent.caps(a)
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

-- Why a job of this need could never run on the agent; nil if it could. Without a need, why none of the class could.
-- need = {kind, model, gpus, vram, ram, cpus (milli)}, class = {kind, model, gpus, labels = {{name, value}…}}.
function capable.lacks(a, class, need)
  local caps = agent.caps(a)
  if class.kind == 'process' and not caps.processes then
    return 'kind'
  end
  if class.kind ~= 'process' and not caps.models[class.model] then
    return 'model'
  end
  local labels = #class.labels > 0 and cmsgpack.unpack(a.labels_packed)
  for _, label in ipairs(class.labels) do
    if labels[label[1]] ~= label[2] then
      return 'labels'
    end
  end
  if #caps.gpus < class.gpus then
    return 'gpus'
  end
  return need and capable.lacks_for(a, need)
end

return capable
