-- event: what happens in a pool, told to whoever listens: a stream whose entries are numbered without a gap, so that a
-- reader knows whether it has missed any. The oldest go first, when there are too many or they are too old.
local event = {}

local KEPT = '10000'
-- Redis forgets them by the hundred, so that it need not be asked to with each.
local TRIMMED_EVERY = 50
local KEPT_MS = 86400000
local FORGOTTEN_AT_ONCE = 100
-- Of so many events one forgets keys: every one of them may have remembered one, and far more are forgotten at once.
local KEYS_FORGOTTEN_EVERY = 10

local function add(call, topic, payload)
  local number = int(pool.events) .. '-0'
  if pool.events % TRIMMED_EVERY == 0 then
    return call('XADD', key('events'), 'MAXLEN', '~', KEPT, number, 'topic', topic, 'at', int(pool.now), 'payload', payload)
  end
  return call('XADD', key('events'), number, 'topic', topic, 'at', int(pool.now), 'payload', payload)
end

local function last_number()
  local info = redis.call('XINFO', 'STREAM', key('events'))
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      return tonumber(string.match(info[i + 1], '^%d+'))
    end
  end
  return pool.events
end

-- Appends an event with a payload in JSON.
function event.append(topic, payload)
  pool.events = pool.events + 1
  if type(add(redis.pcall, topic, payload)) == 'table' then
    -- The stream ends behind the number that comes next, which no version of the program brings about.
    pool.events = last_number() + 1
    add(redis.call, topic, payload)
  end
  pool.announce('events')
end

-- Tells what happened to an agent.
function event.agent(what, agent_id)
  event.append('agent.' .. what, '{"agent_id":"' .. agent_id .. '"}')
end

-- The number, the topic, the time and the payload of an entry of the stream.
function event.read(entry)
  local fields = entry[2]
  return tonumber(string.match(entry[1], '^%d+')), fields[2], tonumber(fields[4]), fields[6]
end

-- The number of the oldest event that is kept, or of the next one if none is.
function event.first()
  local entry = redis.call('XRANGE', key('events'), '-', '+', 'COUNT', '1')[1]
  return entry and event.read(entry) or pool.events + 1
end

-- The entry that was published with this idempotency key before, if it is kept.
function event.published(idem)
  local number = redis.call('ZSCORE', key('event_keys'), idem)
  return number and redis.call('XRANGE', key('events'), number .. '-0', number .. '-0')[1]
end

-- Forgets the idempotency keys of events that are kept no more, a bounded number at once.
function event.forget_keys()
  local old = redis.call('ZRANGEBYSCORE', key('event_keys'), '-inf', '(' .. int(event.first()), 'LIMIT', '0',
    int(FORGOTTEN_AT_ONCE))
  if old[1] then
    redis.call('ZREM', key('event_keys'), unpack(old))
  end
end

-- Remembers the idempotency key of the event that was appended last.
function event.remember(idem)
  redis.call('ZADD', key('event_keys'), int(pool.events), idem)
  if pool.events % KEYS_FORGOTTEN_EVERY == 0 then
    event.forget_keys()
  end
end

-- Forgets events that are too old, a bounded number at once.
local function forget_some()
  local old
  for _, entry in ipairs(redis.call('XRANGE', key('events'), '-', '+', 'COUNT', int(FORGOTTEN_AT_ONCE))) do
    local number, _, at = event.read(entry)
    if pool.now - at < KEPT_MS then
      break
    end
    old = number
  end
  if old == pool.events then
    redis.call('DEL', key('events'))
  else
    redis.call('XTRIM', key('events'), 'MINID', int(old + 1))
  end
end

-- Forgets events that are too old, and keys of those that are gone. Most often not even the oldest is.
function event.forget_old()
  local oldest = redis.call('XRANGE', key('events'), '-', '+', 'COUNT', '1')[1]
  if oldest and pool.now - select(3, event.read(oldest)) >= KEPT_MS then
    forget_some()
  end
  event.forget_keys()
end

local function quoted(text)
  return text and '"' .. text .. '"' or 'null'
end

-- Tells what happened to a job. Ids and reasons need no escapes, and an encoder would cost more than the event.
function event.job(what, j)
  if j.probe then
    return
  end
  event.append('job.' .. what, '{"job_id":"' .. j.id .. '","attempt":' .. int(j.attempt) .. ',"agent_id":' .. quoted(j.agent)
    .. ',"reason":' .. quoted(j.reason) .. ',"exit_code":' .. (j.exit and int(j.exit) or 'null') .. '}')
end

return event
