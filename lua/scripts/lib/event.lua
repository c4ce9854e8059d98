-- event: what happens in a pool, told to whoever listens: events are numbered without a gap, so that a reader knows whether it has
-- missed any. The oldest go first, when there are too many or they are too old.
--
-- events      stream  what a script tells is one entry, whose id is the number of its first event: `at`, the time, then topic and
--                     payload of each by turns. Before schema 3 each event was an entry: topic, at and payload by name.
local event = {}

local KEPT = 10000
-- Redis forgets them by whole nodes of the stream, so that it need not be asked to with each.
local TRIMMED_EVERY = 50
local KEPT_MS = 86400000
local KEYS_AT_ONCE = 100
-- Of so many events one forgets keys: every one of them may have remembered one, and far more are forgotten at once.
local KEYS_FORGOTTEN_EVERY = 10
-- Events of an entry, and entries that are read with one command.
local IN_ONE = 64
local ENTRIES_AT_ONCE = 32

-- What this script has told and not yet written: topics and payloads by turns.
local told = {}

calls.begin_with(function()
  told = told[1] and {} or told
end)

-- Tells of something, with a payload in JSON. It is written, and has its number, when the script ends.
function event.append(topic, payload)
  told[#told + 1], told[#told + 2] = topic, payload
  pool.write_events = event.write
end

-- Adds an entry, of which the first event has the number that comes next, and forgets the oldest now and then. Returns why Redis does
-- not take it; nil if it does.
local function add(from, to)
  local count = (to - from + 1) / 2
  local number, now, added = int(pool.events + 1) .. '-0', int(pool.now), nil
  pool.events = pool.events + count
  if pool.events % TRIMMED_EVERY < count then
    local oldest_kept = int(math.max(pool.events - KEPT - IN_ONE, 0))
    added = redis.pcall('XADD', key('events'), 'MINID', '~', oldest_kept, number, 'at', now, unpack(told, from, to))
  else
    added = redis.pcall('XADD', key('events'), number, 'at', now, unpack(told, from, to))
  end
  return type(added) == 'table' and added.err or nil
end

-- The most that the number of an event in the stream may be; nil if that can't be told.
local function last_number()
  local info = redis.pcall('XINFO', 'STREAM', key('events'))
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      return tonumber(string.match(info[i + 1], '^%d+')) + IN_ONE - 1
    end
  end
  return nil
end

-- Writes some of what was told. Should the stream go beyond the number that comes next, which no version of the program brings
-- about, Redis sees that by the id, and the numbers go on behind its end. Returns why nothing could be written.
local function write(from, to)
  local before = pool.events
  if not add(from, to) then
    return nil
  end
  pool.events = last_number() or before
  local trouble = add(from, to)
  if trouble then
    pool.events = before
  end
  return trouble
end

-- Writes what was told. What can't be written is set aside, and keeps nothing else from being done. Returns why; nil if all was
-- written.
function event.write()
  local trouble
  for from = 1, #told, 2 * IN_ONE do
    trouble = write(from, math.min(from + 2 * IN_ONE - 1, #told)) or trouble
  end
  if trouble then
    redis.call('HSET', key('broken'), 'events:all', trouble)
  end
  told, pool.write_events = {}, nil
  pool.announce('events')
  return trouble
end

-- Tells what happened to an agent.
function event.agent(what, agent_id)
  event.append('agent.' .. what, '{"agent_id":"' .. agent_id .. '"}')
end

-- The numbers of an entry's first and last events, and its fields. Even what makes no sense counts as one, so that readers get past.
local function unpacked(entry)
  local first, fields = tonumber(string.match(entry[1], '^%d+')), entry[2]
  if fields[1] == 'topic' then
    fields = { fields[1], fields[4], fields[2], fields[6] }
  end
  return first, math.max(first + #fields / 2 - 2, first), fields
end

-- The oldest entry; nil if there is none.
local function oldest()
  return redis.pcall('XRANGE', key('events'), '-', '+', 'COUNT', '1')[1]
end

-- The number of the oldest event that is kept, or of the next one if none is.
function event.first()
  local entry = oldest()
  return entry and unpacked(entry) or pool.events + 1
end

-- The next few entries with events after a number. That may be in the middle of one, which then is the first.
local function entries_after(number)
  local entries = redis.call('XRANGE', key('events'), int(number + 1), int(pool.events), 'COUNT', int(ENTRIES_AT_ONCE))
  if not entries[1] or unpacked(entries[1]) > number + 1 then
    local before = redis.call('XREVRANGE', key('events'), int(number), '-', 'COUNT', '1')[1]
    if before and select(2, unpacked(before)) > number then
      table.insert(entries, 1, before)
    end
  end
  return entries
end

-- Gives `take` the events of an entry that come after a number, one by one, until it says that it has enough. Returns the last
-- that it was given, and whether it has.
local function give(entry, after, take)
  local first, last, fields = unpacked(entry)
  local at = tonumber(fields[2])
  for number = math.max(after + 1, first), last do
    local place = 2 * (number - first) + 3
    if at and fields[place] and take(number, fields[place], at, fields[place + 1]) then
      return number, true
    end
  end
  return last, false
end

-- Gives `take` what was told after a number, in the same way: its number, topic, time and payload. Returns the last that was given;
-- the pool's last if there are no more.
function event.each_after(number, take)
  local last, is_enough = number, false
  while last < pool.events do
    local entries = entries_after(last)
    if not entries[1] then
      return pool.events
    end
    for _, entry in ipairs(entries) do
      last, is_enough = give(entry, last, take)
      if is_enough then
        return last
      end
    end
  end
  return last
end

-- The number, topic and payload of the event that was published with this idempotency key before; nil if it is not kept. Such an
-- event is alone in its entry.
function event.published(idem)
  local number = redis.call('ZSCORE', key('event_keys'), idem)
  local entry = number and redis.call('XRANGE', key('events'), number .. '-0', number .. '-0')[1]
  if not entry then
    return nil
  end
  local first, _, fields = unpacked(entry)
  return first, fields[3], fields[4]
end

-- Forgets the idempotency keys of events that are kept no more, a bounded number at once.
function event.forget_keys()
  local old = redis.call('ZRANGEBYSCORE', key('event_keys'), '-inf', '(' .. int(event.first()), 'LIMIT', '0',
    int(KEYS_AT_ONCE))
  if old[1] then
    redis.call('ZREM', key('event_keys'), unpack(old))
  end
end

-- Remembers the idempotency key of the event that was written last.
function event.remember(idem)
  redis.call('ZADD', key('event_keys'), int(pool.events), idem)
  if pool.events % KEYS_FORGOTTEN_EVERY == 0 then
    event.forget_keys()
  end
end

-- Whether an entry is too old, and the number of its last event.
local function is_old(entry)
  local _, last, fields = unpacked(entry)
  return pool.now - (tonumber(fields[2]) or 0) >= KEPT_MS, last
end

-- Forgets events that are too old, a bounded number at once.
local function forget_some()
  local forgotten
  for _, entry in ipairs(redis.call('XRANGE', key('events'), '-', '+', 'COUNT', int(ENTRIES_AT_ONCE))) do
    local is_to_go, last = is_old(entry)
    if not is_to_go then
      break
    end
    forgotten = last
  end
  if forgotten == pool.events then
    redis.call('DEL', key('events'))
  else
    redis.call('XTRIM', key('events'), 'MINID', int(forgotten + 1))
  end
end

-- Forgets events that are too old, and keys of those that are gone. Most often not even the oldest is.
function event.forget_old()
  local entry = oldest()
  if entry and is_old(entry) then
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
