--[[ agents/remove: an operator removes an agent for good. Its bound jobs go elsewhere now, its running ones when their
     leases have ended.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  agent    string
  ARGV[2]  now_ms   integer, or "" for Redis TIME (tests pass their own)

  Returns  {"removed"} | {"not_found"} | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/int lib/later lib/clock lib/pool lib/behind lib/event lib/record lib/sets lib/segment lib/job lib/retention lib/ending lib/avoid lib/terms lib/agent lib/room lib/rank lib/fit lib/capable lib/held lib/session lib/place lib/binding lib/attempt lib/class lib/fair lib/line lib/queue lib/dependencies lib/hold lib/catalog lib/members lib/breaker lib/serving lib/settle lib/due
  Cost     O(classes + queue)
]]
-- Jobs that go elsewhere at once; the others are settled soon.
local AT_ONCE = 16

local refused = pool.enter(ARGV[2])
if refused then
  return refused
end
local id = ARGV[1]
local owner = redis.call('HGET', key('identities'), id)
if not owner then
  return { 'not_found' }
end
local a = agent:load(id)
if a then
  agent:put(a, 'reach_ms', 0)
  local bound = {}
  for _, job_id in ipairs(agent.live_jobs(a)) do
    if agent.entry(a, job_id).state == 'bound' then
      bound[#bound + 1] = job:load(job_id)
    end
  end
  settle.forget_agent(a)
  for n, j in ipairs(bound) do
    if n <= AT_ONCE then
      queue.put(j)
    else
      job:put(j, 'bound_until', pool.now)
      job.wake_at(j, pool.now)
    end
  end
end
if string.sub(owner, 1, 1) ~= '!' then
  redis.call('HSET', key('identities'), id, '!' .. owner)
  event.agent('removed', id)
end
pool.announce('agent', id)
return due.finish({ 'removed' })
