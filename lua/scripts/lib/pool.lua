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
    'settings', 'weights')
  if not f[1] then
    return { 'no_pool' }
  end
  if tonumber(f[1]) > SCHEMA then
    return { 'newer_schema' }
  end
  pool.now = math.max(read_clock(now_arg), tonumber(f[2]))
  pool.heard = tonumber(f[3])
  pool.seq = tonumber(f[6])
  local s, w = cmsgpack.unpack(f[7]), cmsgpack.unpack(f[8])
  pool.interval, pool.timeout, pool.lease, pool.grace, pool.claim = s[1], s[2], s[3], s[4], s[5]
  pool.agent_keep, pool.job_keep, pool.publish = s[6], s[7], s[8]
  pool.weights = { vram = w[1], load = w[2], rtt = w[3], perf = w[4] }
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

-- Writes what was noted and returns the reply.
function pool.finish(reply)
  pool.put('clock_ms', pool.now)
  local args, n = {}, 0
  for field, value in pairs(changes) do
    args[n + 1], args[n + 2] = field, value
    n = n + 2
  end
  redis.call('HSET', KEYS[1], unpack(args))
  for channel in pairs(channels) do
    redis.call(pool.publish, channel, '')
  end
  return reply
end
