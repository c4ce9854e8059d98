--[[ agents/claim: hands an agent the jobs that wait for it, each under a lease. A repeated number gets the same leases.

  KEYS[1]  pool       hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent     none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  agent      string
  ARGV[2]  epoch      integer  its incarnation
  ARGV[3]  number     integer  the agent's own number for this claim
  ARGV[4]  processes  integer  0..64 more of them
  ARGV[5]  requests   integer  0..256 more to models
  ARGV[6]  measures   JSON, or "" for none
  ARGV[7]  reachable  integer  milliseconds from now in which a job reaches the agent at once
  ARGV[8]  nonce      string   random; lease ids are made of it
  ARGV[9]  now_ms     integer, or "" for Redis TIME (tests pass their own)

  Returns  {"claimed", {{"job attempt lease", spec, and unless they are all "": devices, the agent's name of the model,
           prompt}…}, {cancelled job…}, watched} | {"unknown_agent"}
           | {"superseded"} | {"removed"} | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/int lib/later lib/clock lib/pool lib/behind lib/event lib/record lib/sets lib/segment lib/job lib/retention lib/ending lib/avoid lib/agent lib/room lib/rank lib/fit lib/capable lib/held lib/session lib/place lib/binding lib/attempt lib/class lib/fair lib/line lib/queue lib/dependencies lib/probe lib/hold lib/catalog lib/members lib/breaker lib/serving lib/settle lib/due lib/caller lib/measure
  Cost     O(32 · log N)
]]
local CALLS_AGAIN_WITHIN_MS = 1000
-- So many jobs are handed out or go elsewhere in one run, so that it holds nobody up. Whoever got some claims again at once.
local AT_ONCE = 32

local refused = pool.enter(ARGV[9])
if refused then
  return refused
end
local a, turned_away = caller.admit(ARGV[1], tonumber(ARGV[2]))
if not a then
  return turned_away
end
local number = tonumber(ARGV[3])
-- How many more of each kind it may be given.
local left = { process = tonumber(ARGV[4]), inference = tonumber(ARGV[5]) }

-- The lease of a job, and what was submitted.
local function lease_of(j, spec)
  local held, model = j.id .. ' ' .. int(j.attempt) .. ' ' .. j.lease, agent.entry(a, j.id).model
  if model == '' and j.devices == '' then
    return { held, spec }
  end
  return { held, spec, j.devices, model, model ~= '' and redis.call('GET', key('prompt', j.id)) or '' }
end

-- Brings the leases of these jobs.
local function reply(jobs)
  local names, leases, prefix = {}, {}, key('spec', '')
  for i, j in ipairs(jobs) do
    names[i] = prefix .. j.id
  end
  for i, spec in ipairs(names[1] and redis.call('MGET', unpack(names)) or {}) do
    leases[i] = lease_of(jobs[i], spec)
  end
  return due.finish({ 'claimed', leases, caller.cancelled(a), caller.watched(a) })
end

-- The jobs that this number has got already, renewed: the agent counts from this call. A run before may have had a claim of
-- the same number.
local function given()
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
  return jobs
end

if number < a.claim then
  return reply({})
end
-- A parked claim looks again whenever something happens to its agent.
local before = number == a.claim and a.brought ~= false and given() or {}
if #before > 0 then
  return reply(before)
end
if number > a.claim then
  agent:put(a, 'claim', number)
  agent:put(a, 'brought', false)
end
measure.take(a, ARGV[6])

-- The agent's queue, oldest first. A ticket's request is not in it: that begins when a client brings it.
local function bound()
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

-- The jobs that are handed out.
local handed = {}

local function hand_out(j, reserved)
  attempt.claim(j, a, ARGV[8], number, reserved)
  handed[#handed + 1] = j
end

-- For what work the agent waits from now on.
local function asks()
  if left.process > 0 and left.inference > 0 then
    return 'both'
  end
  return left.inference > 0 and 'inference' or 'process'
end

-- The agent takes no more of what it has enough of.
local function stand_back()
  if left.process + left.inference == 0 then
    return rank.withdraw(a)
  end
  agent:put(a, 'asks', asks())
  rank.update(a)
end

-- What is more than it asks for goes elsewhere.
local function hand_out_bound()
  for n, j in ipairs(bound()) do
    if n > AT_ONCE then
      return
    elseif left[j.kind] > 0 and not job.is_too_late(j) then
      left[j.kind] = left[j.kind] - 1
      hand_out(j)
    else
      binding.unbind(j, a)
      stand_back()
      queue.put(j)
    end
  end
end

-- Here and now it can be given work, whatever comes later.
agent:put(a, 'reach_ms', pool.now)
agent:put(a, 'asks', asks())
local in_service = agent.takes_work(a)
if in_service then
  hand_out_bound()
  if left.process + left.inference > 0 then
    queue.fill(a, left, AT_ONCE - #handed, hand_out)
  end
  local trial = a.state == 'half_open' and probe.bind(a, left)
  if trial then
    left[trial.kind] = left[trial.kind] - 1
    hand_out(trial)
  end
end
if #handed > 0 then
  agent:put(a, 'brought', true)
end
local wants_more = left.process + left.inference > 0
agent:put(a, 'asks', asks())
local reach = #handed > 0 and CALLS_AGAIN_WITHIN_MS or tonumber(ARGV[7])
agent:put(a, 'reach_ms', in_service and wants_more and reach > 0 and pool.now + reach or 0)
rank.update(a)
return reply(handed)
