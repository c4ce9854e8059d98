-- due: settles what is overdue, a bounded piece with every script that writes, so that the system heals whichever
-- coordinator is alive.
local due = {}

local UNITS = 8

local function settle_it(kind, id)
  if kind == 'job' then
    settle.job(id)
  elseif kind == 'agent' then
    settle.agent(id)
  elseif kind == 'after' then
    dependencies.settle(id)
  elseif kind == 'ended' then
    ending.forget_old()
  elseif kind == 'hold' then
    hold.settle(id)
  elseif kind == 'scores' then
    settle.scores(id)
  elseif kind == 'aliases' then
    settle.aliases(id)
  elseif kind == 'serving' then
    serving.settle(id)
  elseif kind == 'usage' then
    retention.look_at_usage(id)
  elseif kind == 'prompts' then
    retention.count_prompts_anew()
  elseif kind == 'room' then
    queue.settle_room(id)
  else
    members.settle(id)
  end
end

-- Whether somebody was to be heard of by now, and may not have been able to make himself heard: an agent, or whoever has a job or
-- waits for it.
local function is_owed_a_word(kind, id)
  local j = kind == 'job' and job:load(id)
  return kind == 'agent' or j and (j.state == 'running' or j.state == 'scheduled' or j.state == 'pending' or j.cancelling)
end

-- Settles one thing, all of which is written then. What can't be settled must not keep the rest from it: it is set aside,
-- with the reason.
local function settle_one(member, kind, id)
  local is_settled, problem = pcall(settle_it, kind, id)
  local trouble = behind.try_to_write()
  if not is_settled or trouble then
    record.doubt()
    redis.call('ZREM', key('due'), member)
    redis.call('HSET', key('broken'), member, tostring(is_settled and trouble or problem))
  end
end

-- Settles things worth up to 8 units, all that this script does for others together, and returns how many. A unit is a
-- thing, or a job that was bound because of one. During an amnesty the deadlines of all who were not heard move to its end.
function due.settle()
  local settled, is_amnesty = 0, pool.now < pool.amnesty
  local overdue = redis.call('ZRANGEBYSCORE', key('due'), '-inf', int(pool.now), 'LIMIT', '0', int(UNITS))
  if #overdue == UNITS then
    pool.spare()
  end
  for n, member in ipairs(overdue) do
    if n - 1 + pool.spent >= UNITS then
      break
    end
    local kind, id = string.match(member, '^(%a+):(.+)$')
    if is_amnesty and is_owed_a_word(kind, id) then
      redis.call('ZADD', key('due'), int(pool.amnesty), member)
    else
      settle_one(member, kind, id)
      settled = settled + 1
    end
  end
  return settled
end

-- Whether anything is overdue still.
function due.is_left()
  sets.write('due')
  return redis.call('ZCOUNT', key('due'), '-inf', int(pool.now)) > 0
end

-- Writes what was put off and every changed record.
local function write_all()
  behind.write()
  record.flush(agent, job)
end

-- Ends a script that has written all.
local function close(reply)
  agent:remember()
  job:remember()
  return pool.finish(reply)
end

-- Fills what is not held any more, writes every changed record, and returns the reply.
function due.write(reply)
  if pool.freed then
    hold.fill_freed()
  end
  write_all()
  return close(reply)
end

-- Ends a script that writes: first its own changes, then its share of what is overdue.
function due.finish(reply)
  write_all()
  if due.settle() == 0 and not pool.freed then
    return close(reply)
  end
  return due.write(reply)
end

return due
