--[[ agents/claim: hands an agent the jobs that wait for it, each under a lease. A repeated number gets the same leases.

  KEYS[1]  pool       hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent     none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  agent      string
  ARGV[2]  epoch      integer  its incarnation
  ARGV[3]  number     integer  the agent's own number for this claim
  ARGV[4]  most       integer  0..64 leases
  ARGV[5]  measures   JSON, or "" for none
  ARGV[6]  reachable  integer  milliseconds from now in which a job reaches the agent at once
  ARGV[7]  nonce      string   random; lease ids are made of it
  ARGV[8]  now_ms     integer, or "" for Redis TIME (tests pass their own)

  Returns  {"claimed", {{job, attempt, lease, devices, spec}…}, {cancelled job…}, watched} | {"unknown_agent"}
           | {"superseded"} | {"removed"} | {"no_pool"} | {"newer_schema"}
  Uses     lib/key lib/int lib/later lib/clock lib/pool lib/record lib/segment lib/job lib/retention lib/ending lib/avoid lib/agent lib/room lib/rank lib/fit lib/capable lib/held lib/place lib/binding lib/attempt lib/fair lib/queue lib/dependencies lib/class lib/hold lib/members lib/breaker lib/settle lib/due lib/caller lib/measure
  Cost     O(most · log N)
]]
local CALLS_AGAIN_WITHIN_MS = 1000

local refused = pool.enter(ARGV[8])
if refused then
  return refused
end
local a, turned_away = caller.admit(ARGV[1], tonumber(ARGV[2]))
if not a then
  return turned_away
end
local number, most = tonumber(ARGV[3]), tonumber(ARGV[4])

local function lease_of(j)
  return { j.id, j.attempt, j.lease, j.devices, redis.call('GET', key('spec', j.id)) }
end

local function reply(leases)
  return due.finish({ 'claimed', leases, caller.cancelled(a), caller.watched(a) })
end

-- The leases that this number has got already, renewed: the agent counts from this call.
local function given()
  local leases = {}
  for job_id, entry in pairs(agent.live(a)) do
    if entry.state == 'running' and entry.claim == number then
      local j = job:load(job_id)
      job:put(j, 'lease_until', pool.now + pool.lease)
      leases[#leases + 1] = lease_of(j)
    end
  end
  return leases
end

if number < a.claim then
  return reply({})
end
local before = number == a.claim and given() or {}
if #before > 0 then
  return reply(before)
end
agent:put(a, 'claim', number)
measure.take(a, ARGV[5])

-- The agent's queue, oldest first.
local function bound()
  local entries = {}
  for job_id, entry in pairs(agent.live(a)) do
    if entry.state == 'bound' then
      entries[#entries + 1] = { id = job_id, order = entry.order }
    end
  end
  table.sort(entries, job.goes_before)
  local jobs = {}
  for _, entry in ipairs(entries) do
    jobs[#jobs + 1] = job:load(entry.id)
  end
  return jobs
end

local leases = {}
local function hand_out(jobs)
  for _, j in ipairs(jobs) do
    if #leases < most then
      attempt.claim(j, a, ARGV[7], number)
      leases[#leases + 1] = lease_of(j)
    else
      binding.unbind(j, a)
      rank.withdraw(a)
      queue.put(j)
    end
  end
end

-- Here and now it can be given work, whatever comes later.
agent:put(a, 'reach_ms', pool.now)
local in_service = agent.takes_work(a)
if in_service then
  hand_out(bound())
  if #leases < most then
    hand_out(queue.fill(a, most - #leases))
  end
end
local wants_more = most > #leases
local reach = #leases > 0 and CALLS_AGAIN_WITHIN_MS or tonumber(ARGV[6])
agent:put(a, 'reach_ms', in_service and wants_more and reach > 0 and pool.now + reach or 0)
rank.update(a)
return reply(leases)
