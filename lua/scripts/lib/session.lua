-- session: conversations, and the agents that have them warm, so that the next request of one need not begin anew.
--
-- sessions        zset  sessions by their last use; those of an hour ago are forgotten, and the oldest where there are too many
-- session_agents  hash  the agent of each
local session = {}

local KEPT_MS = 3600000
local KEPT = 10000
local FORGOTTEN_AT_ONCE = 2
-- How much lower than the best score that of the session's agent may be.
local BOUND = 0.15

-- The agent that a job's session was on last; nil if that is not known.
function session.agent_of(j)
  return j.session and record.ask('HGET', key('session_agents'), j.session) or nil
end

-- Runs a command on the sessions. Agents of sessions that are lost would be forgotten by nobody.
local function ask(command, ...)
  local told, is_gone = record.ask(command, key('sessions'), ...)
  if is_gone then
    redis.call('UNLINK', key('session_agents'))
  end
  return told
end

-- Forgets some of the oldest that are too old, or too many.
function session.forget_some(most)
  local over = ask('ZCARD') - KEPT
  local oldest = ask('ZRANGE', '0', int(most - 1), 'WITHSCORES')
  for i = 1, #oldest, 2 do
    if (i + 1) / 2 <= over or pool.now - oldest[i + 1] >= KEPT_MS then
      ask('ZREM', oldest[i])
      record.ask('HDEL', key('session_agents'), oldest[i])
    end
  end
end

-- A request of a session begins on an agent. More is forgotten than comes in.
function session.note(j, a)
  if j.session then
    ask('ZADD', int(pool.now), j.session)
    record.ask('HSET', key('session_agents'), j.session, a.id)
    session.forget_some(FORGOTTEN_AT_ONCE)
  end
end

local function may_have(j, a)
  return a.state == 'healthy' and agent.takes_work(a)
    and rank.ask(j.class, 'ZSCORE', key('members', j.class), a.id)
    and not avoid.is_avoided(j, a.id) and not avoid.is_refused(j, a.id)
end

-- The session's agent instead of the best one, if it is well, has room, and is not much worse; with its devices.
function session.prefer(j, best, devices)
  local id = session.agent_of(j)
  local a = id and id ~= best.id and best.state ~= 'half_open' and agent:load(id)
  local its_devices = a and may_have(j, a) and fit.for_job(a, j)
  if its_devices and rank.score(a, j) >= rank.score(best, j) - BOUND then
    return a, its_devices
  end
  return best, devices
end

return session
