-- job: one job's record, its place in the order of its class, and its end.
local job = record.kind('job', {
  'state', 'class', 'kind', 'model', 'gpus', 'vram', 'ram', 'cpus', 'prio', 'order', 'max', 'created', 'title', 'score',
  'agent', 'attempt', 'free', 'lease', 'lease_until', 'bound_until', 'started', 'ended', 'exit', 'signal', 'reason',
  'message', 'done', 'out', 'frame', 'cancelling', 'devices', 'avoid', 'refused',
})

local FAILURES_KEPT = 16
local AVOIDED_AGENTS = 8
local SEGMENT_BYTES = 65536
local SEGMENTS_KEPT = 15
local MEMBERSHIP = { scheduled = true, running = true }

-- Lower goes first: priority, then age. Exact in a double: 2^10 priorities times 2^42 jobs.
function job.order_of(priority, seq)
  return -priority * 4398046511104 + seq
end

-- Moves a job from state to state, keeping the sets by state.
function job.move(j, state)
  if MEMBERSHIP[j.state] then
    redis.call('SREM', key(j.state), j.id)
  end
  if MEMBERSHIP[state] then
    redis.call('SADD', key(state), j.id)
  end
  job:put(j, 'state', state)
  if not j.is_new then
    pool.announce('job', j.id)
  end
end

-- Sets when the job has to be looked at next.
function job.wake_at(j, ms)
  redis.call('ZADD', key('due'), ms, 'job:' .. j.id)
end

function job.is_ended(j)
  return j.state == 'completed' or j.state == 'failed' or j.state == 'cancelled'
end

-- Attempts that count against max.
function job.spent(j)
  return j.attempt - j.free
end

-- Keeps why an attempt ended other than well: the latest 16.
function job.note_failure(j, agent_id, attempt, why)
  local entry = cjson.encode({ attempt = attempt, agent_id = agent_id, at_ms = pool.now, reason = why.reason,
    exit_code = why.exit, signal = why.signal, message = why.message })
  redis.call('RPUSH', key('failures', j.id), entry)
  redis.call('LTRIM', key('failures', j.id), -FAILURES_KEPT, -1)
  job:put(j, 'reason', why.reason)
  job:put(j, 'exit', why.exit)
  job:put(j, 'signal', why.signal)
  job:put(j, 'message', why.message)
end

local function listed(list, id)
  return list ~= nil and string.find(',' .. list .. ',', ',' .. id .. ',', 1, true) ~= nil
end

local function prepended(list, id)
  local kept = { id }
  for other in string.gmatch(list or '', '[^,]+') do
    if other ~= id and #kept < AVOIDED_AGENTS then
      kept[#kept + 1] = other
    end
  end
  return table.concat(kept, ',')
end

-- Agents where the job failed or went unclaimed are passed over while another fits; those that refused it, always.
function job.avoids(j, agent_id)
  return listed(j.avoid, agent_id)
end

function job.is_refused_by(j, agent_id)
  return listed(j.refused, agent_id)
end

function job.avoid_agent(j, agent_id)
  job:put(j, 'avoid', prepended(j.avoid, agent_id))
end

function job.note_refusal(j, agent_id)
  job:put(j, 'refused', prepended(j.refused, agent_id))
end

-- Ends a job for good and sets when it is forgotten.
function job.finish(j, state)
  job.move(j, state)
  job:put(j, 'ended', pool.now)
  redis.call('ZADD', key('ended'), pool.now, j.id)
  job.wake_at(j, pool.now + pool.job_keep)
end

-- Removes the output of an attempt: the segments that are kept of it.
function job.drop_output(j, attempt)
  local out = j.out or 0
  if out == 0 then
    return
  end
  local last = math.floor((out - 1) / SEGMENT_BYTES)
  local keys = { key('output:' .. j.id .. ':' .. attempt, '0') }
  for segment = math.max(1, last - SEGMENTS_KEPT + 1), last do
    keys[#keys + 1] = key('output:' .. j.id .. ':' .. attempt, segment)
  end
  redis.call('DEL', unpack(keys))
end

-- Forgets an ended job.
function job.forget(j)
  job.drop_output(j, j.attempt)
  redis.call('DEL', key('job', j.id), key('spec', j.id), key('failures', j.id))
  redis.call('ZREM', key('jobs'), j.id)
  redis.call('ZREM', key('ended'), j.id)
  redis.call('ZREM', key('due'), 'job:' .. j.id)
  job:drop(j)
end

return job
