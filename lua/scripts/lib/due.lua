-- due: settles what is overdue, a bounded piece with every script that writes, so that the system heals whichever
-- coordinator is alive.
local due = {}

local UNITS = 16

-- A bound job that was not claimed in time goes elsewhere; its agent leaves all ranks until it calls again.
local function settle_bound(j)
  if pool.now < j.bound_until then
    return job.wake_at(j, j.bound_until)
  end
  local a = agent:load(j.agent)
  if a then
    attempt.unbind(j, a)
    job.avoid_agent(j, a.id)
    rank.withdraw(a)
  end
  queue.put(j)
end

-- A lease that was not renewed in time is lost, once its processes must be gone.
local function settle_running(j)
  local at = j.lease_until + pool.grace
  if pool.now < at then
    return job.wake_at(j, at)
  end
  local a = agent:load(j.agent)
  if a then
    job.avoid_agent(j, a.id)
    queue.retry(j, a, { reason = 'lease_lost' })
    rank.update(a)
    queue.fill(a)
  else
    job.note_failure(j, j.agent, j.attempt, { reason = 'agent_removed' })
    if job.spent(j) >= j.max then
      job.finish(j, 'failed')
    else
      queue.put(j)
    end
  end
end

local function settle_ended(j)
  if j.cancelling then
    local at = j.lease_until + pool.grace
    if pool.now < at then
      return job.wake_at(j, at)
    end
    local a = agent:load(j.agent)
    if a then
      attempt.buried(j, a)
      rank.update(a)
      queue.fill(a)
    else
      job:put(j, 'cancelling', nil)
    end
  end
  if pool.now >= j.ended + pool.job_keep then
    return job.forget(j)
  end
  job.wake_at(j, j.ended + pool.job_keep)
end

local function settle_job(id)
  local j = job:load(id)
  if not j or j.state == 'pending' then
    redis.call('ZREM', key('due'), 'job:' .. id)
  elseif j.state == 'scheduled' then
    settle_bound(j)
  elseif j.state == 'running' then
    settle_running(j)
  else
    settle_ended(j)
  end
end

-- Forgets an agent that was offline for long; its credential stays good.
function due.forget_agent(a)
  class.expel(a)
  redis.call('DEL', key('agent', a.id), key('facts', a.id), key('live', a.id))
  redis.call('ZREM', key('agents'), a.id)
  redis.call('SREM', key('agents', a.state), a.id)
  redis.call('SREM', key('agents', 'draining'), a.id)
  redis.call('ZREM', key('due'), 'agent:' .. a.id)
  agent:drop(a)
end

local function settle_agent(id)
  local a = agent:load(id)
  if not a then
    redis.call('ZREM', key('due'), 'agent:' .. id)
  elseif breaker.look(a) then
    due.forget_agent(a)
  end
end

local SETTLE = { job = settle_job, agent = settle_agent, class = class.settle }

-- Settles one thing. What can't be settled must not keep the rest from it: it is set aside, with the reason.
local function settle_one(member)
  local kind, id = string.match(member, '^(%a+):(.+)$')
  local ok, problem = pcall(SETTLE[kind], id)
  if not ok then
    redis.call('ZREM', key('due'), member)
    redis.call('HSET', key('broken'), member, tostring(problem))
  end
end

-- Settles up to 16 things and returns how many. During an amnesty nothing is.
function due.settle()
  if pool.now < pool.amnesty then
    return 0
  end
  local overdue = redis.call('ZRANGEBYSCORE', key('due'), '-inf', pool.now, 'LIMIT', 0, UNITS)
  for _, member in ipairs(overdue) do
    settle_one(member)
  end
  return #overdue
end

-- Whether anything is overdue still.
function due.is_left()
  return pool.now >= pool.amnesty and redis.call('ZCOUNT', key('due'), '-inf', pool.now) > 0
end

-- Writes every changed record and returns the reply.
function due.write(reply)
  agent:flush()
  job:flush()
  return pool.finish(reply)
end

-- Ends a script that writes: first its own changes, then its share of what is overdue.
function due.finish(reply)
  agent:flush()
  job:flush()
  due.settle()
  return due.write(reply)
end

return due
