-- ending: how attempts and jobs end, and what is kept of them.
local ending = {}

local FAILURES_KEPT = 16
local SEGMENTS_A_UNIT = 32
local FORGOTTEN_AT_ONCE = 64
local SEGMENTS_AS_A_JOB = 4
local JOBS_A_UNIT = 16
-- Should jobs be kept for less long than they were.
local LOOKED_AT_EVERY_MS = 600000
-- What falls due when the oldest ended job is to be forgotten. A sorted set that holds a name of more than 64 bytes is none of
-- those that Redis keeps as a list: of that every change would walk through a hundred live jobs.
local ALL = 'ended:all' .. string.rep('-', 64)

-- Keeps why an attempt ended other than well: the latest 16.
function ending.note_failure(j, agent_id, attempt, why)
  local entry = cjson.encode({ attempt = attempt, agent_id = agent_id, at_ms = pool.now, reason = why.reason,
    exit_code = why.exit, signal = why.signal, message = why.message })
  record.ask('RPUSH', key('failures', j.id), entry)
  redis.call('LTRIM', key('failures', j.id), -FAILURES_KEPT, -1)
  job:put(j, 'reason', why.reason)
  job:put(j, 'exit', why.exit)
  job:put(j, 'signal', why.signal)
  job:put(j, 'message', why.message)
end

-- Has an ended job looked at by itself, when its prompt and answer, or all of it, is to be forgotten.
function ending.wake(j)
  job.wake_at(j, j.ended + math.min(j.keeps or pool.job_keep, pool.job_keep))
end

-- Ends a job for good and sets when it is forgotten.
function ending.finish(j, state)
  if j.out > 0 then
    segment.close(j, segment.of(j.out - 1))
  end
  job.move(j, state)
  job:put(j, 'ended', pool.now)
  sets.enter('ended', j.id, pool.now)
  if j.out > 0 then
    sets.enter('outputs', j.id, pool.now)
  end
  if j.ticket then
    record.ask('ZREM', key('tickets', j.owner), j.id)
  end
  if retention.is_short_of_prompts() then
    ending.forget_prompt(j)
  end
  event.job(state, j)
  if j.keeps or j.dependents then
    ending.wake(j)
  else
    -- It goes with all others of its time.
    sets.leave('due', 'job:' .. j.id)
  end
  if j.dependents then
    redis.call('ZADD', key('due'), int(pool.now), 'after:' .. j.id)
  end
  behind.put(retention.trim)
end

-- Removes the output of the latest attempt: the segments that are kept of it. A long one is worth many units (see lib/due).
function ending.drop_output(j)
  if j.out == 0 then
    return
  end
  pool.spent = pool.spent + math.floor(segment.drop_all(j) / SEGMENTS_A_UNIT)
  sets.leave('outputs', j.id)
end

-- Forgets what an ended job wrote.
function ending.forget_output(j)
  ending.drop_output(j)
  job:put(j, 'out', 0)
end

-- Forgets what was asked of a model.
function ending.forget_prompt(j)
  if j.kind ~= 'process' then
    retention.count_prompt(j, -retention.prompt_bytes(j.id))
    redis.call('DEL', key('prompt', j.id))
  end
end

-- Forgets what was asked of a model and what it answered. That it was asked is kept.
function ending.forget_content(j)
  ending.forget_output(j)
  ending.forget_prompt(j)
  job:put(j, 'keeps', nil)
end

-- Forgets an ended job.
function ending.forget(j)
  ending.drop_output(j)
  ending.forget_prompt(j)
  redis.call('DEL', key('job', j.id), key('spec', j.id), key('failures', j.id), key('result', j.id))
  if j.idem then
    redis.call('DEL', key('idem', j.idem))
  end
  sets.leave('jobs', j.id)
  sets.leave('ended', j.id)
  sets.leave('due', 'job:' .. j.id)
  job:drop(j)
end

-- What forgetting a job takes, beside one that has written little.
local function weight(j)
  return 1 + math.floor(j.out / segment.BYTES / SEGMENTS_AS_A_JOB)
end

-- Calls `forget` with one id after the other, until that is as much as one script does; it says what it took. One at which it
-- fails is noted, and keeps none of the others.
local function forget_some(ids, forget)
  local done = 0
  job:read_ahead(ids)
  for _, id in ipairs(ids) do
    if done >= FORGOTTEN_AT_ONCE then
      break
    end
    local is_done, takes = pcall(forget, id)
    if not is_done then
      record.doubt()
      redis.call('HSET', key('broken'), 'job:' .. id, tostring(takes))
    end
    done = done + (is_done and takes or 1)
  end
  pool.spent = pool.spent + math.floor(done / JOBS_A_UNIT)
end

-- Forgets an ended job, unless it can't go yet; says what that took. It goes behind the others before it is tried, so that one
-- that can't go, or fails, is in nobody's way.
local function forget_if_it_can_go(id)
  sets.enter('ended', id, pool.now)
  local j = retention.that_can_go(id)
  local takes = j and weight(j) or 0
  if j then
    ending.forget(j)
  end
  return takes
end

-- Forgets more of the ended jobs that the pool keeps too many of: as many as may end in one script, so that they never end
-- faster than that.
function ending.forget_surplus()
  forget_some(retention.more_surplus(FORGOTTEN_AT_ONCE), forget_if_it_can_go)
end

-- The same for what they wrote.
function ending.forget_surplus_output()
  forget_some(retention.more_outputs(FORGOTTEN_AT_ONCE), function(id)
    local j = retention.is_over_output() and job:load(id)
    local takes = j and weight(j) or 0
    if j then
      ending.forget_output(j)
    end
    return takes
  end)
end

-- Forgets ended jobs whose time is over, as many as one script does, and has the rest looked at when the next one's is.
function ending.forget_old()
  sets.write('ended')
  local old = int(pool.now - pool.job_keep)
  local ids = redis.call('ZRANGEBYSCORE', key('ended'), '-inf', old, 'LIMIT', '0', int(FORGOTTEN_AT_ONCE))
  forget_some(ids, forget_if_it_can_go)
  sets.write('ended')
  local oldest = redis.call('ZRANGE', key('ended'), '0', '0', 'WITHSCORES')[2]
  if oldest then
    sets.enter('due', ALL, math.min(oldest + pool.job_keep, pool.now + LOOKED_AT_EVERY_MS))
  else
    sets.leave('due', ALL)
  end
end

-- Sees to it that ended jobs are looked at: those that are the first, or where that has failed before.
function ending.watch_old()
  if redis.call('EXISTS', key('ended')) == 1 then
    redis.call('ZADD', key('due'), 'NX', int(pool.now), ALL)
  end
end

return ending
