-- probe: the trial of a half-open agent that waits for one in vain: a job of the pool's own that does nothing. It takes the
-- way of every job, from the claim to the report, so that it fails where others would; it goes to no other agent, and
-- no event tells of it.
local probe = {}

local PATIENCE_MS = 60000
local CLASS = '{"gpus":0,"kind":"process","labels":[],"model":""}'
local SPEC = '{"kind":"process","process":{"command":["true"]},"requirements":{"agent_labels":{}},"max_attempts":1,'
  .. '"labels":{"titan":"probe"},"submitted_by":"titan"}'

-- Ids of jobs are UUIDs of version 7, so that they sort by age.
local function new_id(seq)
  local ms = string.format('%012x', pool.now)
  return string.sub(ms, 1, 8) .. '-' .. string.sub(ms, 9) .. '-7000-8000-' .. string.format('%012x', seq)
end

-- Makes a probe and binds it to the agent, if its turn has come and there is room. Returns the job, or nil.
function probe.bind(a)
  local t = agent.trouble(a)
  if t.trial or pool.now - t.trial_ms < PATIENCE_MS or not agent.caps(a).processes then
    return nil
  end
  local j = { class = class.id_of(CLASS), kind = 'process', model = '', gpus = 0, vram = 0, ram = 0, cpus = 0, prio = 0,
    max = 1, attempt = 0, free = 0, created = pool.now, out = 0, title = 'true', owner = 'titan',
    is_new = true, probe = '1' }
  local devices = fit.now(a, j, room.left(a))
  if not devices then
    return nil
  end
  j.id = new_id(pool.next_seq())
  redis.call('SET', key('spec', j.id), SPEC)
  redis.call('ZADD', key('jobs'), '0', j.id)
  binding.bind(job:adopt(j), a, devices)
  return j
end

return probe
