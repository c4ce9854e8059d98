-- caller: the agent that makes a call, and what every reply tells it.
local caller = {}

-- Whether an agent was removed. Its record has gone with that.
local function is_removed(id)
  local owner = redis.call('HGET', key('identities'), id)
  return owner and string.sub(owner, 1, 1) == '!'
end

-- The agent of a call. Returns nil and a reply that turns it away if it is not the current incarnation.
function caller.admit(id, epoch)
  local a = agent:load(id)
  if not a and is_removed(id) then
    return nil, { 'removed' }
  end
  if not a or epoch > a.epoch then
    return nil, { 'unknown_agent' }
  end
  if epoch < a.epoch then
    return nil, { 'superseded' }
  end
  pool.hear()
  return a
end

-- Whether anybody follows the output of one of its jobs.
function caller.watched(a)
  return (a.read_ms or 0) >= pool.now and '1' or '0'
end

-- Jobs that it has to cancel.
function caller.cancelled(a)
  local ids = {}
  for job_id in pairs(agent.tally(a).ending) do
    ids[#ids + 1] = job_id
  end
  return ids
end

return caller
