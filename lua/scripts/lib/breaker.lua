-- breaker: how an agent's state moves, by silence, by failures, and by being heard again.
--
--   healthy    3 failures in a row, or late by half the timeout                            -> degraded
--   degraded   3 successes in a row or, if that was lateness, 3 heartbeats in time          -> healthy
--              5 failures in a row, unless too much of the pool is offline for that already -> offline, by failures
--   offline    by silence: heard again                                                      -> degraded
--              by failures: heard once the cool-down is over                                -> half_open
--   half_open  one trial at a time; two go well -> healthy, one fails -> offline, for twice as long
--   any        late by the whole timeout                                                    -> offline, by silence
--
-- Every move is an edge: it raises the agent's `edge` and appends one event. An attempt carries the edge that it began
-- after; how it ends moves nothing once there was another.
local breaker = {}

local ON_TIME_TO_HEAL = 3
local SUCCESSES_TO_HEAL = 3
local TRIALS_TO_HEAL = 2
local FAILURES_TO_DEGRADE = 3
local FAILURES_TO_TRIP = 5
local COOL_DOWN_MS = 10000
local LONGEST_COOL_DOWN_MS = 300000
local TRIAL_LASTS_MS = 30000
local SUSPECTS = 8
local UNITS_A_BOUND_JOB = 0.125
local EPHEMERAL_MS = 3600000
local LOOK_AGAIN_MS = 60000

local function keep_member(set, id, belongs)
  redis.call(belongs and 'SADD' or 'SREM', key('agents', set), id)
end

local function tell(a, topic, from)
  local t = agent.trouble(a)
  event.append('breaker.' .. topic, cjson.encode({ agent_id = a.id, from = from, to = a.state, cause = t.cause,
    epoch = a.edge, failures = t.fails, cool_down_ms = a.state == 'offline' and t.until_ms and t.until_ms - pool.now or nil }))
end

-- When an agent that is offline is forgotten; that of a box which is there for a while only, sooner than others.
local function forgotten_at(a)
  local keep = agent.caps(a).ephemeral and math.min(EPHEMERAL_MS, pool.agent_keep) or pool.agent_keep
  return math.max(a.offline_ms, a.seen_ms) + keep
end

-- When an agent has to be looked at next.
function breaker.watch(a)
  local at
  if a.state == 'offline' then
    at = forgotten_at(a)
    if at <= pool.now then
      at = pool.now + LOOK_AGAIN_MS
    end
  elseif a.state == 'healthy' then
    at = a.next_ms + pool.timeout / 2
  else
    at = a.next_ms + pool.timeout
  end
  redis.call('ZADD', key('due'), int(at), 'agent:' .. a.id)
end

-- Takes an edge. `cause`, why it is not healthy: lateness, silence or failures.
local function move(a, state, cause)
  local from, t = a.state, agent.trouble(a)
  if from ~= 'healthy' then
    keep_member(from, a.id, false)
  end
  if state ~= 'healthy' then
    keep_member(state, a.id, true)
  end
  local is_out = state == 'half_open' or (state == 'offline' and cause == 'failures')
  if is_out ~= (from == 'half_open' or (from == 'offline' and t.cause == 'failures')) then
    keep_member('tripped', a.id, is_out)
  end
  if t.guarded then
    keep_member('guarded', a.id, false)
  end
  agent:put(a, 'state', state)
  agent:put(a, 'edge', (a.edge or 0) + 1)
  agent:put(a, 'on_time', 0)
  agent:put(a, 'offline_ms', state == 'offline' and pool.now or nil)
  t.cause, t.wins, t.trial, t.guarded = cause, 0, nil, nil
  t.trial_ms = state == 'half_open' and pool.now or nil
  if state == 'healthy' then
    t.fails, t.cool_ms = 0, nil
  end
  if state ~= 'offline' or cause ~= 'failures' then
    t.until_ms = nil
  end
  agent.put_trouble(a)
  tell(a, state, from)
  rank.update(a)
  breaker.watch(a)
end

-- The agent's bound jobs go elsewhere, now.
function breaker.send_away_bound(a)
  for job_id, entry in pairs(agent.live(a)) do
    if entry.state == 'bound' then
      sets.enter('due', 'job:' .. job_id, pool.now)
      local j = job:load(job_id)
      if j then
        job:put(j, 'bound_until', pool.now)
      end
      pool.spent = pool.spent + UNITS_A_BOUND_JOB
    end
  end
end

local function go_offline(a, cause)
  agent:put(a, 'reach_ms', 0)
  move(a, 'offline', cause)
  breaker.send_away_bound(a)
end

-- Failures take the agent out of service, for twice as long as the last time.
local function trip(a)
  local t = agent.trouble(a)
  t.cool_ms = t.cool_ms and math.min(2 * t.cool_ms, LONGEST_COOL_DOWN_MS) or COOL_DOWN_MS
  t.until_ms = pool.now + t.cool_ms
  go_offline(a, 'failures')
end

-- Whether failures may take one more agent out: at most half of those that are not silent.
local function may_trip()
  local tripped = redis.call('SCARD', key('agents', 'tripped'))
  local silent = redis.call('SCARD', key('agents', 'offline'))
    - (tripped - redis.call('SCARD', key('agents', 'half_open')))
  return 2 * (tripped + 1) <= redis.call('ZCARD', key('agents')) - silent
end

-- Notes, once, that an agent stays in service though its failures would take it out.
local function guard(a)
  local t = agent.trouble(a)
  if not t.guarded then
    t.guarded = true
    keep_member('guarded', a.id, true)
    tell(a, 'guarded', a.state)
  end
end

-- One more failure of an agent in service.
local function count_failure(a)
  local t = agent.trouble(a)
  t.fails, t.wins = t.fails + 1, 0
  if t.fails >= FAILURES_TO_TRIP and a.state == 'degraded' then
    if may_trip() then
      return trip(a)
    end
    guard(a)
  elseif t.fails >= FAILURES_TO_DEGRADE then
    if a.state == 'healthy' then
      return move(a, 'degraded', 'failures')
    end
    t.cause = 'failures'
  end
  agent.put_trouble(a)
end

local function is_in_service(a)
  return a.state == 'healthy' or a.state == 'degraded'
end

-- What an agent holds, if it began after the agent's last edge.
local function current(a, job_id)
  local entry = agent.entry(a, job_id)
  return entry and entry.edge == (a.edge or 0)
end

-- The agent failed a job that it holds. Returns whether that counts.
function breaker.failed(a, job_id)
  if not current(a, job_id) then
    return false
  elseif is_in_service(a) then
    count_failure(a)
  elseif agent.is_trial(a, job_id) then
    trip(a)
  else
    return false
  end
  return true
end

-- A job failed on the agent, which may be the job's own fault: it is the agent's once the job completes elsewhere.
function breaker.suspect(j, a)
  if agent.is_trial(a, j.id) then
    trip(a)
  elseif current(a, j.id) then
    local suspects, n = a.id .. ':' .. (a.edge or 0), 1
    for id, edge in string.gmatch(j.suspects or '', '([^,:]+):(%d+)') do
      if id ~= a.id and n < SUSPECTS then
        suspects, n = suspects .. ',' .. id .. ':' .. edge, n + 1
      end
    end
    job:put(j, 'suspects', suspects)
  end
end

-- A trial went well.
local function trial_succeeded(a)
  local t = agent.trouble(a)
  t.wins = t.wins + 1
  if t.wins >= TRIALS_TO_HEAL then
    return move(a, 'healthy')
  end
  agent.put_trial(a, nil)
  rank.update(a)
end

-- The agent completed a job that it holds. Those that failed it before are to blame.
function breaker.completed(j, a)
  for id, edge in string.gmatch(j.suspects or '', '([^,:]+):(%d+)') do
    local other = id ~= a.id and agent:load(id)
    if other and is_in_service(other) and (other.edge or 0) == tonumber(edge) then
      count_failure(other)
    end
  end
  job:put(j, 'suspects', nil)
  if not current(a, j.id) then
    return
  end
  if agent.is_trial(a, j.id) then
    trial_succeeded(a)
  elseif is_in_service(a) then
    local t = agent.trouble(a)
    t.fails, t.wins = 0, t.wins + 1
    if a.state == 'degraded' and t.cause == 'failures' and t.wins >= SUCCESSES_TO_HEAL then
      return move(a, 'healthy')
    end
    agent.put_trouble(a)
  end
end

-- Looks at the trial of an agent that renews it: one that has run for long went well.
function breaker.look_at_trial(a)
  local id = a.state == 'half_open' and agent.trouble(a).trial
  local j = id and job:load(id)
  if j and j.state == 'running' and j.started and pool.now >= j.started + TRIAL_LASTS_MS then
    trial_succeeded(a)
  end
end

-- An agent that is offline is heard.
function breaker.return_of(a)
  local t = agent.trouble(a)
  if t.cause ~= 'failures' then
    move(a, 'degraded', t.fails >= FAILURES_TO_DEGRADE and 'failures' or 'silence')
  elseif pool.now >= t.until_ms then
    move(a, 'half_open', 'failures')
    pool.announce('agent', a.id)
  end
end

-- An agent's heartbeat came, and the next is due in `interval`.
function breaker.heard(a, interval)
  local late = pool.now - a.next_ms
  agent:put(a, 'next_ms', pool.now + interval)
  if a.state == 'offline' then
    breaker.return_of(a)
  elseif a.state == 'healthy' and late >= pool.timeout / 2 and pool.now >= pool.amnesty then
    move(a, 'degraded', 'lateness')
  elseif a.state == 'degraded' and late < pool.timeout / 2 and agent.trouble(a).cause ~= 'failures' then
    agent:put(a, 'on_time', (a.on_time or 0) + 1)
    if a.on_time >= ON_TIME_TO_HEAL then
      move(a, 'healthy')
    end
  end
end

-- Looks at an agent's silence. Returns whether the agent is to be forgotten.
function breaker.look(a)
  if a.state == 'offline' then
    -- What it may be running still comes back with it, or ends by itself.
    if pool.now >= forgotten_at(a) and agent.attempts(a) == 0 then
      return true
    end
  elseif pool.now >= a.next_ms + pool.timeout then
    if a.state == 'half_open' and agent.trouble(a).trial then
      trip(a)
    else
      go_offline(a, 'silence')
    end
    return false
  elseif a.state == 'healthy' and pool.now >= a.next_ms + pool.timeout / 2 then
    move(a, 'degraded', 'lateness')
    return false
  end
  breaker.watch(a)
  return false
end

-- Takes an agent that is to be forgotten out of the sets by state.
function breaker.forget(a)
  for _, set in ipairs({ a.state, 'tripped', 'guarded' }) do
    keep_member(set, a.id, false)
  end
end

return breaker
