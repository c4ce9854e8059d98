--[[ jobs/cancel: ends a job; the agent of a running one is told to end its processes. A job that has ended stays as it is.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  job      string
  ARGV[2]  now_ms   integer, or "" for Redis TIME (tests pass their own)

  Returns  {"done", state, cancelling} | {"not_found"} | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/int lib/later lib/clock lib/pool lib/behind lib/event lib/record lib/sets lib/segment lib/job lib/retention lib/ending lib/avoid lib/terms lib/agent lib/room lib/rank lib/fit lib/capable lib/held lib/session lib/place lib/binding lib/attempt lib/class lib/fair lib/line lib/queue lib/dependencies lib/hold lib/catalog lib/members lib/breaker lib/serving lib/settle lib/due
  Cost     O(log N)
]]
local refused = pool.enter(ARGV[2])
if refused then
  return refused
end
local j = job:need(ARGV[1])
if not j then
  return { 'not_found' }
end

local cancel = {}

function cancel.pending()
  queue.remove(j)
  ending.finish(j, 'cancelled')
end

function cancel.blocked()
  job:put(j, 'needs', nil)
  ending.finish(j, 'cancelled')
end

function cancel.delayed()
  ending.finish(j, 'cancelled')
end

function cancel.scheduled()
  local a = agent:load(j.agent)
  ending.finish(j, 'cancelled')
  if a then
    agent.release(a, j.id)
    rank.update(a)
    queue.fill(a)
  end
end

function cancel.running()
  attempt.cancel(j, agent:load(j.agent))
end

if cancel[j.state] then
  job:put(j, 'reason', 'cancelled')
  cancel[j.state]()
end
return due.finish({ 'done', j.state, j.cancelling or '0' })
