-- fair: turns between API keys. Each job that has to wait gets a tag, and the lowest goes first: a key's jobs have tags one
-- after the other, beginning with that of the job served last, so keys take turns whatever each has waiting.
--
-- tags:<class>  zset  orders (see lib/job): "<priority>:<key>" the last that the key's jobs got, "<priority>:" the one that
--                     was served last. It goes when no job of the class waits, and so do keys that lag behind.
--
-- Lines are kept by class, since a key's far tags in a class that is busy must not count where nobody waits. Tag 0 is for
-- jobs that are past waiting in line: those that came back, and those that were passed over for long.
--
-- Tags are written with the line that they belong to, see lib/line: either those of jobs that have joined it, or which were
-- served of those that have left it.
local fair = {}

-- Of lines that have yet to be written, by class and priority: {turn = the tag that was served last, last = {key = its last
-- tag}}, and the job that was served last.
local joined, served = {}, {}

calls.begin_with(function()
  joined, served = next(joined) and {} or joined, next(served) and {} or served
end)

local function owner_of(j)
  return j.owner or ''
end

local function members_of(j)
  return j.prio .. ':', j.prio .. ':' .. owner_of(j)
end

-- What there is of a class, made if need be.
local function of(by_class, cid)
  local known = by_class[cid] or {}
  by_class[cid] = known
  return known
end

-- The least order of a job that waits in line.
local function first_in_line(j)
  return job.order_of(j.prio, 1)
end

-- The order of a job that has to wait for the first time. `begun` says where a line begins.
function fair.join(j, begun)
  local owner, known = owner_of(j), of(joined, j.class)[j.prio] or { last = {} }
  local last = known.last[owner]
  if not last then
    local found = redis.call('ZMSCORE', key('tags', j.class), members_of(j))
    known.turn = known.turn or tonumber(found[1] or begun(first_in_line(j), job.order_of(j.prio - 1, 0)))
    last = found[2]
  end
  local order = math.max(known.turn, last and last + 1 or known.turn)
  known.last[owner] = order
  -- Asking where a line begins has written what was joined before.
  of(joined, j.class)[j.prio] = known
  return order
end

-- A waiting job was served.
function fair.serve(j)
  local by_prio = of(served, j.class)
  if j.order >= first_in_line(j) and (not by_prio[j.prio] or j.order > by_prio[j.prio].order) then
    by_prio[j.prio] = j
  end
end

-- Writes the tags of a line.
function fair.write(cid)
  local tags, by_prio = {}, of(served, cid)
  for prio, known in pairs(of(joined, cid)) do
    tags[#tags + 1], tags[#tags + 2] = int(known.turn), prio .. ':'
    for owner, last in pairs(known.last) do
      tags[#tags + 1], tags[#tags + 2] = int(last), prio .. ':' .. owner
    end
  end
  joined[cid], served[cid] = nil, nil
  if tags[1] then
    redis.call('ZADD', key('tags', cid), unpack(tags))
  end
  for _, j in pairs(by_prio) do
    redis.call('ZADD', key('tags', cid), 'GT', int(j.order), (members_of(j)))
    redis.call('ZREMRANGEBYSCORE', key('tags', cid), int(first_in_line(j)), '(' .. int(j.order))
  end
end

-- Nobody waits in a line any more.
function fair.forget(cid)
  joined[cid], served[cid] = nil, nil
  redis.call('DEL', key('tags', cid))
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
