--[[ jobs/why: why a job waits for an agent: its place in line, what is in the way, and how fast the line moves.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  job      string
  ARGV[2]  now_ms   integer, or "" for Redis TIME (tests pass their own)

  Returns  {"waiting", place, line, since_ms, held agent or "", when it may start (ms) or "", {reason, agents}…, examined,
           {hindered agent, {what by…}}…}
           | {"not_waiting"} | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/int lib/clock lib/pool lib/record lib/job lib/avoid lib/terms lib/agent lib/room lib/rank lib/fit lib/capable lib/class lib/explain
  Cost     O(200)
]]
local SAMPLED = 200
local ENOUGH = 3

local refused = pool.enter(ARGV[2])
if refused then
  return refused
end
local j = job:need(ARGV[1])
local before = j and redis.call('ZRANK', key('pending', j.class), j.id)
local spec = before and redis.call('HGET', key('class', j.class), 'spec')
if not spec then
  return { 'not_waiting' }
end

-- How long it took lately from the end of one job of the class to the next; nil if there were too few to tell. The time
-- since the last one counts too, so it grows when nothing ends any more.
local function interval()
  local ended = redis.call('ZREVRANGE', key('ended'), '0', int(SAMPLED - 1))
  local count, oldest = 0, nil
  for _, id in ipairs(ended) do
    local other = job:load(id)
    if other and other.class == j.class and other.state ~= 'cancelled' then
      count, oldest = count + 1, other.ended
    end
  end
  return count >= ENOUGH and (pool.now - oldest) / count or nil
end

local place = before + 1
local counts, examined, could, hindered = explain.obstacles(j, spec)
local every = could > 0 and interval()
local starts = every and int(pool.now + math.floor(every * place)) or ''
return { 'waiting', place, redis.call('ZCARD', key('pending', j.class)), int(j.waits or pool.now), j.holds or '', starts,
  counts, examined, hindered }
