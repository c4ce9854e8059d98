-- breaker: how an agent's state moves by silence and by being heard again.
--
-- healthy -> degraded when it is late by half the timeout; -> offline when it is late by the whole; heard again, an
-- offline agent is degraded, and three heartbeats in time make a degraded one healthy.
local breaker = {}

local ON_TIME_TO_HEAL = 3

function breaker.move(a, state)
  if a.state == state then
    return
  end
  if a.state ~= 'healthy' then
    redis.call('SREM', key('agents', a.state), a.id)
  end
  if state ~= 'healthy' then
    redis.call('SADD', key('agents', state), a.id)
  end
  agent:put(a, 'state', state)
  agent:put(a, 'on_time', 0)
  agent:put(a, 'offline_ms', state == 'offline' and pool.now or nil)
end

-- When an agent's silence has to be looked at next.
function breaker.watch(a)
  local at
  if a.state == 'offline' then
    at = a.offline_ms + pool.agent_keep
  elseif a.state == 'healthy' then
    at = a.next_ms + pool.timeout / 2
  else
    at = a.next_ms + pool.timeout
  end
  redis.call('ZADD', key('due'), int(at), 'agent:' .. a.id)
end

-- An agent's heartbeat came, and the next is due in `interval`.
function breaker.heard(a, interval)
  local late = pool.now - a.next_ms
  local was = a.state
  if was == 'offline' then
    breaker.move(a, 'degraded')
  elseif was == 'healthy' and late >= pool.timeout / 2 and pool.now >= pool.amnesty then
    breaker.move(a, 'degraded')
  elseif was == 'degraded' and late < pool.timeout / 2 then
    agent:put(a, 'on_time', (a.on_time or 0) + 1)
    if a.on_time >= ON_TIME_TO_HEAL then
      breaker.move(a, 'healthy')
    end
  end
  agent:put(a, 'next_ms', pool.now + interval)
  if a.state ~= was then
    breaker.watch(a)
  end
end

-- The agent's bound jobs go elsewhere, now.
function breaker.send_away_bound(a)
  for job_id, entry in pairs(agent.live(a)) do
    if entry.state == 'bound' then
      redis.call('ZADD', key('due'), int(pool.now), 'job:' .. job_id)
      local j = job:load(job_id)
      if j then
        job:put(j, 'bound_until', pool.now)
      end
    end
  end
end

-- Looks at an agent's silence. Returns whether the agent is to be forgotten.
function breaker.look(a)
  if a.state == 'offline' then
    if pool.now >= a.offline_ms + pool.agent_keep then
      return true
    end
  elseif pool.now >= a.next_ms + pool.timeout then
    breaker.move(a, 'offline')
    rank.withdraw(a)
    breaker.send_away_bound(a)
  elseif a.state == 'healthy' and pool.now >= a.next_ms + pool.timeout / 2 then
    breaker.move(a, 'degraded')
    rank.update(a)
  end
  breaker.watch(a)
  return false
end

return breaker
