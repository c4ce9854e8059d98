-- pool: reads the pool's hash, keeps its clock, and ends every script that writes.
local SILENCE_SLACK_MS = 5000
local STEP_MS = 5000
local SPARING_PACE = 40
local USUAL_PACE = 200

-- `spent`: units (see lib/due) that this script has spent beside one for each thing that it settled. `write_events`: writes what
-- this script has told, if it has told anything (see lib/event).
local pool = { SCHEMA = 3 }
-- The same as Redis spells it.
local OWN = '3'
local channels, packed_weights

calls.begin_with(function()
  -- The call before may have failed; of one by hash nothing here would know.
  collectgarbage('setstepmul', USUAL_PACE)
  channels, packed_weights = nil, nil
  pool.now, pool.offset, pool.step, pool.heard_now, pool.is_spared, pool.freed, pool.spent = nil, nil, nil, nil, nil, nil, 0
  pool.write_events = nil
end)

-- Whether a newer version of the program wrote this.
function pool.is_newer(schema)
  return schema ~= OWN and tonumber(schema) > pool.SCHEMA
end

-- Whether an older version wrote this. Its records are read as they are, and written anew when they change.
function pool.is_older(schema)
  return tonumber(schema) < pool.SCHEMA
end

-- Notes that an agent was heard.
function pool.hear()
  pool.heard_now = pool.now
end

-- Time never runs backwards for a pool, whichever node answers: after a step back of the clock the pool goes on from
-- where it was, with an amnesty, and keeps the difference until the clock is ahead again.
local function follow_clock(read, last, offset)
  pool.offset = read >= last and 0 or offset
  pool.now = read + pool.offset
  if pool.now < last - STEP_MS then
    pool.offset, pool.step = last - read, true
  end
  pool.now = math.max(read + pool.offset, last)
end

-- Reads settings, weights and clock into `pool`; `read_ms` is the clock as this node has it. Returns a reply that refuses the call, or nil.
function pool.enter(now_ms)
  local f = redis.call('HMGET', calls.pool, 'schema', 'clock', 'settings', 'weights')
  if not f[1] then
    return { 'no_pool' }
  end
  if pool.is_newer(f[1]) then
    return { 'newer_schema' }
  end
  local last, offset
  last, pool.heard, pool.amnesty, pool.amnesty_for, pool.seq, offset, pool.output,
    pool.events, pool.prompts, pool.counted, pool.counted_to = cmsgpack.unpack(f[2])
  pool.read_ms = clock.read(now_ms)
  follow_clock(pool.read_ms, last, offset)
  pool.interval, pool.timeout, pool.lease, pool.grace, pool.claim, pool.agent_keep, pool.job_keep, pool.publish,
    pool.job_max, pool.output_max, pool.prompt_max = cmsgpack.unpack(f[3])
  packed_weights = f[4]
  -- Nobody was heard for longer than anybody's interval: the store or every coordinator was away, or the clock jumped.
  -- All deadlines then move by one timeout, once for each silence.
  if pool.now - pool.heard > pool.interval + SILENCE_SLACK_MS and pool.amnesty_for ~= pool.heard then
    pool.amnesty = pool.now + pool.timeout
    pool.amnesty_for = pool.heard
  elseif pool.step then
    pool.amnesty = pool.now + pool.timeout
  end
  return nil
end

-- The weights of VRAM, load, RTT, performance and cost, and the strategy.
function pool.weights()
  return cmsgpack.unpack(packed_weights)
end

-- The next number of the pool's sequence, which orders jobs and uses of agents.
function pool.next_seq()
  pool.seq = pool.seq + 1
  return pool.seq
end

-- Announces a change of an agent's work or of a job, or that there are events, once a script.
function pool.announce(kind, id)
  channels = channels or {}
  local ids = channels[kind]
  if not ids then
    ids = {}
    channels[kind] = ids
  end
  ids[id or ''] = true
end

-- What scripts leave behind, Lua frees in bursts, in whatever script runs then. One that has much to do by itself leaves most
-- of that to others, and frees at a fifth of the usual pace.
function pool.spare()
  pool.is_spared = true
  collectgarbage('setstepmul', SPARING_PACE)
end

-- Writes what was told and the clock, sends what was announced, and returns the reply.
function pool.finish(reply)
  if pool.write_events then
    pool.write_events()
  end
  local packed = cmsgpack.pack(pool.now, pool.heard_now or pool.heard, pool.amnesty, pool.amnesty_for, pool.seq,
    pool.offset, pool.output, pool.events, pool.prompts, pool.counted, pool.counted_to)
  redis.call('HSET', calls.pool, 'clock', packed)
  for kind, ids in pairs(channels or {}) do
    for id in pairs(ids) do
      redis.call(pool.publish, key(kind, id ~= '' and id or nil), '')
    end
  end
  if pool.is_spared then
    collectgarbage('setstepmul', USUAL_PACE)
  end
  return reply
end

return pool
