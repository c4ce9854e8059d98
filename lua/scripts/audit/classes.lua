--[[ audit/classes: looks at a slice of the pool's classes: each has what it is made of, is looked at again, and is known to
     have jobs that wait. It writes nothing.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  cursor   string   where the slice before ended, or "0"
  ARGV[2]  now_ms   integer, or "" for Redis TIME (tests pass their own)

  Returns  {"audited", the cursor of the next slice or "" if none follows, classes looked at, {kind, id, what is wrong}…,
           classes}
           | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/clock lib/pool lib/ledger
  Cost     O(100)
]]
local COUNT = 16

local refused = pool.enter(ARGV[2])
if refused then
  return refused
end

local function wrong(cid, text)
  ledger.add('class', cid, text)
end

local function look(cid)
  if redis.call('HEXISTS', key('class', cid), 'spec') == 0 then
    wrong(cid, 'is listed and has no record')
  end
  if not redis.call('ZSCORE', key('due'), 'class:' .. cid) then
    wrong(cid, 'will never be looked at again')
  end
  local best = redis.call('ZRANGE', key('pending', cid), 0, 0, 'WITHSCORES')
  local waits = redis.call('ZSCORE', key('waiting'), cid)
  if best[1] and not waits then
    wrong(cid, 'has jobs that wait, and nobody knows')
  elseif waits and not best[1] then
    wrong(cid, 'is said to have jobs that wait, and has none')
  elseif waits and tonumber(waits) ~= tonumber(best[2]) then
    wrong(cid, 'is said to have another best job than it has')
  end
end

local page, ids = redis.call('ZSCAN', key('classes'), ARGV[1], 'COUNT', COUNT), {}
for i = 1, #page[2], 2 do
  ledger.look('class', page[2][i], 4, look)
  ids[#ids + 1] = page[2][i]
end
local reply = ledger.close(page[1] ~= '0' and page[1] or '')
reply[#reply + 1] = ids
return reply
