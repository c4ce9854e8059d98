-- probe: the trial of a half-open agent that waits for one in vain: a job of the pool's own that does next to nothing. It is a
-- program that ends at once or, where the agent runs none, a request for one token to a model of its. It takes the way of
-- every such job, from the claim to the report, so that it fails where others would; it goes to no other agent, and no event
-- tells of it.
local probe = {}

local PATIENCE_MS = 60000
local KEEPS_MS = 60000
local CLASS = '{"gpus":0,"kind":"process","labels":[],"model":""}'
local SPEC = '{"kind":"process","process":{"command":["true"]},"requirements":{"agent_labels":{}},"max_attempts":1,'
  .. '"labels":{"titan":"probe"},"submitted_by":"titan"}'

-- Ids of jobs are UUIDs of version 7, so that they sort by age.
local function new_id(seq)
  local ms = string.format('%012x', pool.now)
  return string.sub(ms, 1, 8) .. '-' .. string.sub(ms, 9) .. '-7000-8000-' .. string.format('%012x', seq)
end

local function new_job(kind, model, cid)
  return { class = cid, kind = kind, model = model, gpus = 0, vram = 0, ram = 0, cpus = 0, prio = 0, max = 1, attempt = 0,
    free = 0, created = pool.now, out = 0, title = kind == 'process' and 'true' or 'probe', owner = 'titan', is_new = true,
    probe = '1' }
end

-- The agent's models by their own names, those first that cost least to ask.
local function models_of(a)
  local names, models = {}, agent.caps(a).models
  for name, model in pairs(models) do
    if not model.of then
      names[#names + 1] = name
    end
  end
  table.sort(names, function(x, y)
    local one, other = models[x], models[y]
    if one.loaded ~= other.loaded then
      return one.loaded
    end
    return one.vram < other.vram or (one.vram == other.vram and x < y)
  end)
  return names
end

-- What is asked of a model, and the body of the request.
local function request_to(model)
  local inference = { model = model, route = 'chat_completions', body = '', stream = false, first_token_timeout_ms = 120000,
    token_timeout_ms = 60000, load_timeout_ms = 300000 }
  local spec = { kind = 'inference', inference = inference, requirements = { agent_labels = {} }, max_attempts = 1,
    labels = { titan = 'probe' }, submitted_by = 'titan' }
  local body = { model = model, messages = { { role = 'user', content = 'Hi' } }, max_tokens = 1 }
  return cjson.encode(spec), cjson.encode(body)
end

-- A request to a model that the agent has a place for: the job, its devices, what was submitted, and the prompt.
local function of_model(a)
  for _, model in ipairs(models_of(a)) do
    local j = new_job('inference', model, class.id_of('probe ' .. model))
    local devices = fit.now(a, j, room.left(a))
    if devices then
      j.keeps = KEEPS_MS
      return j, devices, request_to(model)
    end
  end
  return nil
end

local function of_process(a)
  local j = new_job('process', '', class.id_of(CLASS))
  local devices = fit.now(a, j, room.left(a))
  return devices and j, devices, SPEC
end

-- Makes a probe and binds it to the agent, if its turn has come, there is room, and it may be given one more of the kind.
-- Returns the job, or nil.
function probe.bind(a, left)
  local t, kind = agent.trouble(a), agent.caps(a).processes and 'process' or 'inference'
  if t.trial or pool.now - t.trial_ms < PATIENCE_MS or left[kind] < 1 then
    return nil
  end
  local make = kind == 'process' and of_process or of_model
  local j, devices, spec, prompt = make(a)
  if not j then
    return nil
  end
  j.id = new_id(pool.next_seq())
  redis.call('SET', key('spec', j.id), spec)
  if prompt then
    redis.call('SET', key('prompt', j.id), prompt)
    retention.count_prompt(j, #prompt)
  end
  sets.enter('jobs', j.id, 0)
  binding.bind(job:adopt(j), a, devices)
  return j
end

return probe
