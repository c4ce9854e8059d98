-- fair: turns between API keys. Each job that has to wait gets a tag, and the lowest goes first: a key's jobs have tags one
-- after the other, beginning with that of the job served last, so keys take turns whatever each has waiting.
--
-- tags:<class>  zset  orders (see lib/job): "<priority>:<key>" the last that the key's jobs got, "<priority>:" the one that
--                     was served last. It goes when no job of the class waits, and so do keys that lag behind.
--
-- Lines are kept by class, since a key's far tags in a class that is busy must not count where nobody waits. Tag 0 is for
-- jobs that are past waiting in line: those that came back, and those that were passed over for long.
local fair = {}

local function members_of(j)
  return j.prio .. ':', j.prio .. ':' .. (j.owner or '')
end

-- The least order of a job that waits in line.
local function first_in_line(j)
  return job.order_of(j.prio, 1)
end

-- Where the line of a class begins: with the first in any other line of this priority.
local function begun(j)
  local beyond = '(' .. int(job.order_of(j.prio - 1, 0))
  local best = redis.call('ZRANGEBYSCORE', key('waiting'), int(first_in_line(j)), beyond, 'WITHSCORES', 'LIMIT', '0', '1')
  return tonumber(best[2] or first_in_line(j))
end

-- The order of a job that has to wait for the first time.
function fair.join(j)
  local served, own = members_of(j)
  local found = redis.call('ZMSCORE', key('tags', j.class), served, own)
  local turn = tonumber(found[1] or begun(j))
  local order = math.max(turn, found[2] and found[2] + 1 or turn)
  redis.call('ZADD', key('tags', j.class), int(turn), served, int(order), own)
  return order
end

-- A waiting job was served.
function fair.serve(j)
  if j.order >= first_in_line(j) then
    redis.call('ZADD', key('tags', j.class), 'GT', int(j.order), (members_of(j)))
    redis.call('ZREMRANGEBYSCORE', key('tags', j.class), int(first_in_line(j)), '(' .. int(j.order))
  end
end

-- A waiting job was cancelled: its key's next one gets a tag for it.
function fair.leave(j)
  local _, own = members_of(j)
  local last = j.order >= first_in_line(j) and redis.call('ZSCORE', key('tags', j.class), own)
  if last and tonumber(last) >= first_in_line(j) then
    redis.call('ZINCRBY', key('tags', j.class), '-1', own)
  end
end

return fair
