-- output: what an attempt writes, in segments of 64 KiB of both streams together.
--
-- A segment is a run of frames: one byte for the stream (o or e), two for the length (big-endian), the bytes. Writing
-- more of the same stream lengthens the last frame, so that many small pieces cost little more than their bytes.
-- The first segment and the latest 15 are kept.
local output = {}

local SEGMENT_BYTES = 65536
local FRAME_BYTES = 65535
local SEGMENTS_KEPT = 15

local function header(stream, length)
  return stream .. string.char(math.floor(length / 256), length % 256)
end

-- Appends a piece that fits into one segment. `j.frame` = "<stream>:<length>:<position of its header>".
local function append_piece(j, stream, piece)
  local segment = math.floor(j.out / SEGMENT_BYTES)
  local name = key('output:' .. j.id .. ':' .. j.attempt, segment)
  local last, length, position
  if j.out % SEGMENT_BYTES == 0 then
    position = 0
    if segment > SEGMENTS_KEPT then
      redis.call('DEL', key('output:' .. j.id .. ':' .. j.attempt, segment - SEGMENTS_KEPT))
    end
  else
    last, length, position = string.match(j.frame, '^(%a):(%d+):(%d+)$')
    length, position = tonumber(length), tonumber(position)
  end
  if last == stream and length + #piece <= FRAME_BYTES then
    length = length + #piece
    redis.call('SETRANGE', name, position, header(stream, length))
    redis.call('APPEND', name, piece)
  else
    position = last and position + 3 + length or 0
    length = #piece
    redis.call('APPEND', name, header(stream, length) .. piece)
  end
  job:put(j, 'frame', stream .. ':' .. length .. ':' .. position)
  job:put(j, 'out', j.out + #piece)
end

-- Appends what is new of a chunk. Returns nil, or where the output ends if the chunk begins after that.
function output.append(j, offset, stream, data)
  if offset > j.out then
    return j.out
  end
  data = string.sub(data, j.out - offset + 1)
  while #data > 0 do
    local room = math.min(FRAME_BYTES, SEGMENT_BYTES - j.out % SEGMENT_BYTES)
    append_piece(j, stream, string.sub(data, 1, room))
    data = string.sub(data, room + 1)
  end
  pool.announce('job', j.id)
  return nil
end

return output
