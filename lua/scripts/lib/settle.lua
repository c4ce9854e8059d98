-- settle: what becomes of a job or an agent whose time has come.
local settle = {}

local AGENTS_AT_ONCE = 16

local function has_room(a)
  rank.update(a)
  queue.fill(a)
end

-- What becomes of a job that an agent has from a run before: that run is gone, and its processes with it.
function settle.left_over(j, a)
  if j.state == 'scheduled' then
    binding.unbind(j, a)
    queue.put(j)
  elseif j.state == 'running' then
    avoid.add(j, a.id)
    queue.retry(j, a, { reason = 'agent_restarted' })
  else
    attempt.buried(j, a)
  end
end

-- A bound job that was not claimed in time goes elsewhere; its agent leaves all ranks until it calls again.
local function bound(j)
  if pool.now < j.bound_until then
    return job.wake_at(j, j.bound_until)
  end
  local a = agent:load(j.agent)
  if a and j.ticket then
    binding.unbind(j, a)
    queue.put(j)
    has_room(a)
    return
  end
  if a then
    if not a.draining and not a.leaving then
      breaker.failed(a, j.id)
    end
    binding.unbind(j, a)
    avoid.add(j, a.id)
    rank.withdraw(a)
  end
  queue.put(j)
end

-- A job that waits for an agent until a time.
local function pending(j)
  if pool.now < j.not_after then
    return job.wake_at(j, j.not_after)
  end
  queue.remove(j)
  queue.give_up(j)
end

-- A lease that was not renewed in time is lost, once its processes must be gone.
local function running(j)
  local at = job.gone_at(j)
  if pool.now < at then
    return job.wake_at(j, at)
  end
  local a = agent:load(j.agent)
  if a then
    avoid.add(j, a.id)
    breaker.failed(a, j.id)
    queue.retry(j, a, { reason = 'lease_lost' })
    has_room(a)
  else
    ending.note_failure(j, j.agent, j.attempt, { reason = 'agent_removed' })
    if job.spent(j) >= j.max or j.ticket or job.has_answered(j) then
      ending.finish(j, 'failed')
    else
      event.job('retried', j)
      job.has_its_time_again(j)
      queue.put(j)
    end
  end
end

local function ended(j)
  if retention.surplus_output() == j.id then
    ending.forget_output(j)
    ending.forget_surplus_output()
    behind.put(retention.trim)
  end
  if j.cancelling then
    local at = job.gone_at(j)
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
  if j.keeps and pool.now >= j.ended + j.keeps then
    ending.forget_content(j)
  end
  if j.dependents then
    job.wake_at(j, pool.now + 1000)
  elseif retention.surplus() == j.id then
    -- Should that fail, it is in nobody's way any more.
    sets.enter('ended', j.id, pool.now)
    ending.forget(j)
    ending.forget_surplus()
    behind.put(retention.trim)
  elseif pool.now >= j.ended + pool.job_keep then
    ending.forget(j)
  else
    ending.wake(j)
  end
end

-- The agent that has the job from a run before, if one has.
local function left_over_at(j)
  if j.state == 'scheduled' or j.state == 'running' or j.cancelling then
    local a = agent:load(j.agent)
    return a and attempt.is_left_over(a, j.id) and a
  end
  return nil
end

function settle.job(id)
  local j = job:load(id)
  local a = j and left_over_at(j)
  if a then
    settle.left_over(j, a)
    has_room(a)
  elseif j and j.state == 'pending' and j.not_after then
    pending(j)
  elseif not j or j.state == 'pending' or j.state == 'blocked' then
    sets.leave('due', 'job:' .. id)
  elseif j.state == 'delayed' then
    queue.start(j)
  elseif j.state == 'scheduled' then
    bound(j)
  elseif j.state == 'running' then
    running(j)
  else
    ended(j)
  end
end

-- Forgets an agent that was offline for long; its credential stays good.
function settle.forget_agent(a)
  members.expel(a)
  redis.call('DEL', key('agent', a.id), key('facts', a.id), key('live', a.id), key('models', a.id))
  redis.call('ZREM', key('agents'), a.id)
  redis.call('ZREM', key('due'), 'serving:' .. a.id)
  breaker.forget(a)
  redis.call('SREM', key('agents', 'draining'), a.id)
  redis.call('ZREM', key('due'), 'agent:' .. a.id)
  agent:drop(a)
end

-- Does something with the next agents, and sets itself up to go on with those behind them.
local function with_agents(kind, after, change)
  redis.call('ZREM', key('due'), kind .. ':' .. after)
  local from = after == '*' and '-' or '(' .. after
  local ids = redis.call('ZRANGEBYLEX', key('agents'), from, '+', 'LIMIT', '0', int(AGENTS_AT_ONCE))
  for _, id in ipairs(ids) do
    local a = agent:load(id)
    if a then
      change(a)
    end
  end
  if #ids == AGENTS_AT_ONCE then
    redis.call('ZADD', key('due'), int(pool.now), kind .. ':' .. ids[#ids])
  end
end

-- Scores agents anew, after weights were changed.
function settle.scores(after)
  with_agents('scores', after, rank.update)
end

-- Knows the models of agents by other names, after aliases were changed.
function settle.aliases(after)
  with_agents('aliases', after, function(a)
    members.serve(a, catalog.own(agent.caps(a).models))
    has_room(a)
  end)
end

function settle.agent(id)
  local a = agent:load(id)
  if not a then
    redis.call('ZREM', key('due'), 'agent:' .. id)
  elseif breaker.look(a) then
    settle.forget_agent(a)
    event.agent('forgotten', id)
  end
end

return settle
