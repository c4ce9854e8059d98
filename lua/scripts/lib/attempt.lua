-- attempt: a job under a lease: claimed, and ended by its agent.
local attempt = {}

local CLOCKS_DIFFER_MS = 1000

-- The number of an attempt that came with no claim, but with a ticket: no heartbeat says by that that it should be listed.
attempt.WITH_NO_CLAIM = 9007199254740991

-- How many leases this run has handed out: with the call's nonce that gives each an id of its own.
local handed

calls.begin_with(function()
  handed = 0
end)

-- Hands a job to its agent under a lease, as a new attempt: one that is bound there, or one for which these terms were `reserved`
-- just now.
function attempt.claim(j, a, nonce, number, reserved)
  local those = terms.begun(a, reserved or agent.entry(a, j.id).terms, number)
  if j.out > 0 then
    ending.drop_output(j)
  end
  handed = handed + 1
  j.attempt, j.lease, j.lease_until = j.attempt + 1, nonce .. '-' .. int(handed), pool.now + pool.lease
  j.devices, j.out, j.changed = those.devices[1] and table.concat(those.devices, ',') or '', 0, true
  -- To clear what a table does not have makes it grow.
  if j.bound_until or j.waits then
    j.bound_until, j.waits = nil, nil
  end
  if j.started or j.exit or j.usage or j.signal or j.reason or j.message then
    j.started, j.exit, j.usage, j.signal, j.reason, j.message = nil, nil, nil, nil, nil, nil
  end
  local keep = reserved and agent.hold or agent.change
  keep(a, j.id, terms.attempt('running', j.attempt, j.lease, those))
  session.note(j, a)
  job.move(j, 'running')
  job.wake_at(j, job.gone_at(j))
end

-- Whether this lease is the agent's current attempt of the job.
function attempt.is_current(a, job_id, number, lease)
  local entry = agent.entry(a, job_id)
  return entry ~= nil and entry.state ~= 'bound' and entry.number == number and entry.lease == lease
end

-- When a job was made, as its id says it; nil if that says nothing.
local function made_ms(job_id)
  local high, low = string.match(job_id, '^(%x%x%x%x%x%x%x%x)%-(%x%x%x%x)%-7')
  return high and tonumber(high .. low, 16)
end

-- Whether Redis must have known of a lease that it does not know. Attempts are numbered in order; and a job that was made after its
-- agent was heard at `seen_ms` cannot have ended and be forgotten by now, as one from before that may.
function attempt.is_lost(lease, seen_ms)
  local j, number = job:load(lease[1]), tonumber(lease[2])
  if j then
    return j.attempt < number or (j.attempt == number and j.lease ~= nil and j.lease ~= lease[3])
  end
  local made = made_ms(lease[1])
  return made ~= nil and made > seen_ms + CLOCKS_DIFFER_MS
end

-- Tells that Redis has lost so many attempts which an agent was running; returns how many are told. Heartbeats name them until their
-- processes are gone, so no more of this agent are told for a while.
function attempt.tell_lost(a, count)
  if count == 0 or (a.loss_ms and pool.now < a.loss_ms + pool.lease) then
    return 0
  end
  agent:put(a, 'loss_ms', pool.now)
  event.append('agent.attempts_lost', '{"agent_id":"' .. a.id .. '","attempts":' .. int(count) .. '}')
  return count
end

-- Whether the agent has this from a run before, which its present run has not taken over.
function attempt.is_left_over(a, job_id)
  local entry = agent.entry(a, job_id)
  return entry ~= nil and entry.since < a.registered_ms and (entry.state == 'bound' or entry.claim ~= 0)
end

-- Has its agent end the attempt of a job that is over. It has its reservation until the agent says that the processes are gone, or
-- they must be.
local function end_it(j, a)
  agent.ends(a, j.id, agent.entry(a, j.id))
  job:put(j, 'cancelling', '1')
  job.wake_at(j, job.gone_at(j))
  pool.announce('agent', a.id)
end

-- Ends a running job as failed.
function attempt.stop(j, a, message)
  ending.note_failure(j, a.id, j.attempt, { reason = 'backend_failed', message = message })
  ending.finish(j, 'failed')
  end_it(j, a)
end

-- Ends a running job as cancelled; `a` is nil if its agent has gone.
function attempt.cancel(j, a)
  ending.finish(j, 'cancelled')
  if a and agent.entry(a, j.id) then
    end_it(j, a)
  end
end

-- The processes of an attempt are gone whose job was cancelled before.
function attempt.buried(j, a)
  agent.release(a, j.id)
  job:put(j, 'cancelling', nil)
  job:put(j, 'lease_until', nil)
  ending.wake(j)
  pool.announce('job', j.id)
end

return attempt
