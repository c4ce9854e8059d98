-- output: what an attempt writes, appended to segments.
--
-- A segment is a run of frames: one byte for the stream (o or e), two for the length (big-endian), the bytes. Writing
-- more of the same stream lengthens the last frame, so that many small pieces cost little more than their bytes.
--
-- A frame `t` stands between what a program wrote and says when that which follows was accepted: seconds of the clock of Redis,
-- rounded up, in four bytes (big-endian). Every segment begins with one. Of the job, `marked` and `marked_at` are the time of the
-- last one and how much was written before it, and `wrote` is when the last byte came.
local output = {}

local FRAME_BYTES = 65535
local HEADER_BYTES = 3
-- A mark costs 10 bytes: so often, and not before as many bytes have come, but at the latest after so long.
local MARKED_EVERY_MS = 1000
local MARKED_EVERY_BYTES = 64
local MARKED_AFTER_MS = 15000

local function header(stream, length)
  return stream .. string.char(math.floor(length / 256), length % 256)
end

-- The mark that belongs before the next byte; "" if there is none.
local function mark(j)
  local passed = pool.now - (j.marked or 0)
  local is_due = passed >= MARKED_AFTER_MS
    or (passed >= MARKED_EVERY_MS and j.out - (j.marked_at or 0) >= MARKED_EVERY_BYTES)
  if j.kind ~= 'process' or not (is_due or j.out % segment.BYTES == 0) then
    return ''
  end
  job:put(j, 'marked', pool.now)
  job:put(j, 'marked_at', j.out)
  return segment.mark(pool.now)
end

-- Appends a piece that fits into one segment. `j.frame` = "<stream>:<length>:<position of its header>".
local function append_piece(j, stream, piece)
  local number = segment.of(j.out)
  local name = segment.key(j, number)
  local last, length, position
  if j.out % segment.BYTES == 0 then
    position = 0
    if number > 0 then
      segment.close(j, number - 1)
    end
    if segment.first_kept(j, number) > 1 then
      segment.drop(j, segment.first_kept(j, number) - 1)
    end
  else
    last, length, position = string.match(j.frame, '^(%a):(%d+):(%d+)$')
    length, position = tonumber(length), tonumber(position)
  end
  local marked = mark(j)
  if last == stream and marked == '' and length + #piece <= FRAME_BYTES then
    length = length + #piece
    record.ask('SETRANGE', name, position, header(stream, length))
    redis.call('APPEND', name, piece)
  else
    position = (last and position + HEADER_BYTES + length or 0) + #marked
    length = #piece
    record.ask('APPEND', name, marked .. header(stream, length) .. piece)
    pool.output = pool.output + #marked + HEADER_BYTES
  end
  pool.output = pool.output + #piece
  job:put(j, 'frame', stream .. ':' .. length .. ':' .. position)
  job:put(j, 'out', j.out + #piece)
  job:put(j, 'wrote', pool.now)
end

-- Appends what is new of a chunk. Returns nil, or where the output ends if the chunk begins after that.
function output.append(j, offset, stream, data)
  if offset > j.out then
    return j.out
  end
  data = string.sub(data, j.out - offset + 1)
  while #data > 0 do
    local space = math.min(FRAME_BYTES, segment.BYTES - j.out % segment.BYTES)
    append_piece(j, stream, string.sub(data, 1, space))
    data = string.sub(data, space + 1)
  end
  pool.announce('job', j.id)
  if pool.output > pool.output_max then
    retention.trim()
  end
  return nil
end

return output
