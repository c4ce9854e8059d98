-- pool: opens the pool, keeps its clock, and ends every script that writes.
local SCHEMA = 1
local SILENCE_SLACK_MS = 5000

local pool = {}
local changes = {}
local channels = {}

local function read_clock(now_arg)
  if now_arg ~= '' then
    return tonumber(now_arg)
  end
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- Notes a change of the pool's hash, written by pool.finish.
function pool.put(field, value)
  changes[field] = value
end

-- Reads settings, weights and clock into `pool`. Returns a reply that refuses the call, or nil.
-- Time never runs backwards for a pool, whichever node answers.
function pool.open(now_arg)
  local f = redis.call('HMGET', KEYS[1], 'schema', 'clock_ms', 'heard_ms', 'amnesty_ms', 'amnesty_for', 'seq',
    'interval_ms', 'timeout_ms', 'lease_ms', 'grace_ms', 'claim_ms', 'agent_keep_ms', 'job_keep_ms', 'publish',
    'w_vram', 'w_load', 'w_rtt', 'w_perf')
  if not f[1] then
    return { 'no_pool' }
  end
  if tonumber(f[1]) > SCHEMA then
    return { 'newer_schema' }
  end
  pool.now = math.max(read_clock(now_arg), tonumber(f[2]))
  pool.heard = tonumber(f[3])
  pool.seq = tonumber(f[6])
  pool.interval, pool.timeout = tonumber(f[7]), tonumber(f[8])
  pool.lease, pool.grace, pool.claim = tonumber(f[9]), tonumber(f[10]), tonumber(f[11])
  pool.agent_keep, pool.job_keep = tonumber(f[12]), tonumber(f[13])
  pool.publish = f[14]
  pool.weights = { vram = tonumber(f[15]), load = tonumber(f[16]), rtt = tonumber(f[17]), perf = tonumber(f[18]) }
  -- Nobody was heard for longer than anybody's interval: the store or every coordinator was away, or the clock jumped.
  -- All deadlines then move by one timeout, once for each silence.
  pool.amnesty = tonumber(f[4])
  if pool.now - pool.heard > pool.interval + SILENCE_SLACK_MS and tonumber(f[5]) ~= pool.heard then
    pool.amnesty = pool.now + pool.timeout
    pool.put('amnesty_ms', pool.amnesty)
    pool.put('amnesty_for', pool.heard)
  end
  return nil
end

-- Notes that an agent was heard.
function pool.hear()
  pool.put('heard_ms', pool.now)
end

-- The next number of the pool's sequence, which orders jobs and uses of agents.
function pool.next_seq()
  pool.seq = pool.seq + 1
  pool.put('seq', pool.seq)
  return pool.seq
end

-- Announces a change of an agent's work or of a job, once a script.
function pool.announce(kind, id)
  channels[key(kind, id)] = true
end

local function int(n)
  return string.format('%.0f', n)
end

-- Writes what was noted and returns the reply.
function pool.finish(reply)
  pool.put('clock_ms', pool.now)
  local args = {}
  for field, value in pairs(changes) do
    args[#args + 1] = field
    args[#args + 1] = type(value) == 'number' and int(value) or value
  end
  redis.call('HSET', KEYS[1], unpack(args))
  for channel in pairs(channels) do
    redis.call(pool.publish, channel, '')
  end
  return reply
end
