-- claiming: what a claim brings its agent: jobs, each under a lease.
local claiming = {}

local CALLS_AGAIN_WITHIN_MS = 1000
-- So many jobs are handed out or go elsewhere in one run, so that it holds nobody up. Whoever got some claims again at once.
local AT_ONCE = 32
-- Whoever claims after the run has looked at so many that waited comes by itself.
local LOOKED_AT = 128

-- How many this run has handed out, and sent elsewhere.
local moved

calls.begin_with(function()
  moved = 0
end)

-- Whether this run has done as much for claims as one may that several share.
function claiming.has_done_enough()
  return moved >= AT_ONCE or queue.looked_at() >= LOOKED_AT
end

-- The jobs that this number has got already, renewed: the agent counts from this call. A run before may have had a claim of
-- the same number.
local function given(a, number)
  local jobs = {}
  for job_id, entry in pairs(agent.live(a)) do
    if entry.state == 'running' and entry.claim == number and not attempt.is_left_over(a, job_id) then
      local j = job:load(job_id)
      if j then
        job:put(j, 'lease_until', pool.now + pool.lease)
        jobs[#jobs + 1] = j
      end
    end
  end
  moved = moved + #jobs
  return jobs
end

-- The jobs that a claim of this number has got before; nil if it may bring new ones. A lower one than the last brings nothing.
function claiming.before(a, number)
  if number < a.claim then
    return {}
  end
  -- A parked claim looks again whenever something happens to its agent.
  local jobs = number == a.claim and a.brought ~= false and given(a, number) or {}
  if jobs[1] then
    return jobs
  end
  if number > a.claim then
    agent:put(a, 'claim', number)
    agent:put(a, 'brought', false)
  end
  return nil
end

-- The agent's queue, oldest first. A ticket's request is not in it: that begins when a client brings it.
local function bound(a)
  local ids, jobs = {}, {}
  for job_id in pairs(agent.tally(a).bound) do
    ids[#ids + 1] = job_id
  end
  agent.read_entries_ahead(a, ids)
  job:read_ahead(ids)
  for _, job_id in ipairs(ids) do
    local entry = agent.entry(a, job_id)
    local j = entry and job:load(job_id)
    if j then
      jobs[#jobs + 1] = j
    elseif entry then
      agent.release(a, job_id)
    end
  end
  return job.sorted(jobs)
end

-- For what work the agent waits from now on, if it may be given so many more of each kind.
local function asks(left)
  if left.process > 0 and left.inference > 0 then
    return 'both'
  end
  return left.inference > 0 and 'inference' or 'process'
end

-- The agent takes no more of what it has enough of.
local function stand_back(a, left)
  if left.process + left.inference == 0 then
    return rank.withdraw(a)
  end
  agent:put(a, 'asks', asks(left))
  rank.update(a)
end

-- What is more than it asks for goes elsewhere.
local function hand_out_bound(a, left, hand_out)
  for _, j in ipairs(bound(a)) do
    if moved >= AT_ONCE then
      return
    elseif left[j.kind] > 0 and not job.is_too_late(j) then
      left[j.kind] = left[j.kind] - 1
      hand_out(j)
    else
      moved = moved + 1
      binding.unbind(j, a)
      stand_back(a, left)
      queue.put(j)
    end
  end
end

-- Hands out what is bound to the agent and what waits for one like it: at most what `left` has of each kind, under leases made
-- of `nonce`. If that is nothing, a job still reaches the agent at once for `reach_ms`. Returns the jobs.
function claiming.hand_out(a, number, left, nonce, reach_ms)
  local handed = {}
  local function hand_out(j, reserved)
    attempt.claim(j, a, nonce, number, reserved)
    handed[#handed + 1], moved = j, moved + 1
    agent:put(a, 'brought', true)
  end
  -- Here and now it can be given work, whatever comes later.
  agent:put(a, 'reach_ms', pool.now)
  agent:put(a, 'asks', asks(left))
  local in_service = agent.takes_work(a)
  if in_service then
    hand_out_bound(a, left, hand_out)
    if left.process + left.inference > 0 then
      queue.fill(a, left, math.max(0, AT_ONCE - moved), hand_out)
    end
    local trial = a.state == 'half_open' and probe.bind(a, left)
    if trial then
      left[trial.kind] = left[trial.kind] - 1
      hand_out(trial)
    end
  end
  if not handed[1] and moved >= AT_ONCE then
    -- There may be more for it, of which this run has got nothing done.
    pool.announce('agent', a.id)
  end
  local wants_more = left.process + left.inference > 0
  agent:put(a, 'asks', asks(left))
  local reach = #handed > 0 and CALLS_AGAIN_WITHIN_MS or reach_ms
  agent:put(a, 'reach_ms', in_service and wants_more and reach > 0 and pool.now + reach or 0)
  rank.update(a)
  return handed
end

-- The lease of a job, and what was submitted.
local function lease_of(a, j, spec)
  local held, model = j.id .. ' ' .. int(j.attempt) .. ' ' .. j.lease, agent.entry(a, j.id).model
  if model == '' and j.devices == '' then
    return { held, spec }
  end
  -- What is no text is as if it were not there: it must keep no other job from the agent.
  local prompt = model ~= '' and redis.pcall('GET', key('prompt', j.id))
  return { held, spec, j.devices, model, type(prompt) == 'string' and prompt or '' }
end

-- The leases of these jobs, as a reply brings them: {"job attempt lease", spec, and unless they are all "": devices, the
-- agent's name of the model, prompt}.
function claiming.leases(a, jobs)
  local names, leases, prefix = {}, {}, key('spec', '')
  for i, j in ipairs(jobs) do
    names[i] = prefix .. j.id
  end
  for i, spec in ipairs(names[1] and redis.call('MGET', unpack(names)) or {}) do
    leases[i] = lease_of(a, jobs[i], spec)
  end
  return leases
end

return claiming
