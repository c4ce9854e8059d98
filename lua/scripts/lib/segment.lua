-- segment: how the output of an attempt lies in keys: segments of 64 KiB of both streams together, of which the first and
-- the latest 15 are kept; of the answer of a model all, up to 32 MiB.
local segment = { BYTES = 65536 }

local LATEST_KEPT = 15
local LATEST_OF_ANSWER = 512
local MARK = string.byte('t')

-- Bytes of an answer.
segment.MOST_OF_ANSWER = LATEST_OF_ANSWER * segment.BYTES

-- The key of a segment of the job's latest attempt.
function segment.key(j, number)
  return key('output:' .. j.id .. ':' .. j.attempt, number)
end

-- The number of the segment that holds a byte.
function segment.of(offset)
  return math.floor(offset / segment.BYTES)
end

-- The first segment after number 0 that is kept, if `last` is the latest.
function segment.first_kept(j, last)
  return math.max(1, last - (j.kind == 'process' and LATEST_KEPT or LATEST_OF_ANSWER) + 1)
end

-- A frame that says when what follows it was accepted, see lib/output.
function segment.mark(ms)
  local seconds = math.ceil(ms / 1000)
  return 't' .. string.char(0, 4, math.floor(seconds / 16777216) % 256, math.floor(seconds / 65536) % 256,
    math.floor(seconds / 256) % 256, seconds % 256)
end

-- When a segment was begun, milliseconds; 0 if it does not say.
local function begun(j, number)
  local kind, _, _, a, b, c, d = string.byte(redis.call('GETRANGE', segment.key(j, number), 0, 6), 1, 7)
  if kind ~= MARK or not d then
    return 0
  end
  return (((a * 256 + b) * 256 + c) * 256 + d) * 1000
end

-- Where to read from so that nothing is missed that was accepted at a time or later: where a segment begins, or the end if
-- nothing was.
function segment.since(j, ms)
  if j.wrote and j.wrote < ms then
    return j.out
  elseif j.kind == 'process' and j.out > 0 then
    local last = segment.of(j.out - 1)
    for number = last, segment.first_kept(j, last), -1 do
      if begun(j, number) <= ms then
        return number * segment.BYTES
      end
    end
  end
  return 0
end

-- Writes a segment anew that grows no more: Redis has left a string that grew piece by piece room for as much again.
function segment.close(j, number)
  local name = segment.key(j, number)
  local bytes = record.ask('GET', name)
  if bytes then
    redis.call('SET', name, bytes)
  end
end

local function discount(name)
  pool.output = pool.output - record.ask('STRLEN', name)
end

-- Removes a segment, which may be gone.
function segment.drop(j, number)
  local name = segment.key(j, number)
  discount(name)
  redis.call('DEL', name)
end

-- Removes all segments that are kept. Returns how many that may have been.
function segment.drop_all(j)
  local last, names = segment.of(j.out - 1), { segment.key(j, 0) }
  for number = segment.first_kept(j, last), last do
    names[#names + 1] = segment.key(j, number)
  end
  for _, name in ipairs(names) do
    discount(name)
  end
  redis.call('DEL', unpack(names))
  return #names
end

return segment
