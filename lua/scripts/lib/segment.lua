-- segment: how the output of an attempt lies in keys: segments of 64 KiB of both streams together, of which the first and
-- the latest 15 are kept; of the answer of a model all, up to 32 MiB.
local segment = { BYTES = 65536 }

local LATEST_KEPT = 15
local LATEST_OF_ANSWER = 512

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

-- Writes a segment anew that grows no more: Redis has left a string that grew piece by piece room for as much again.
function segment.close(j, number)
  local name = segment.key(j, number)
  local bytes = redis.call('GET', name)
  if bytes then
    redis.call('SET', name, bytes)
  end
end

-- Removes a segment, which may be gone.
function segment.drop(j, number)
  local name = segment.key(j, number)
  pool.output = pool.output - redis.call('STRLEN', name)
  redis.call('DEL', name)
end

return segment
