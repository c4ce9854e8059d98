--[[ audit/sets: looks at a slice of one of the sets by state: each member is a job, or an agent, in that state. It writes
     nothing.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  set      string   blocked, delayed, scheduled, running, ended, degraded, half_open, offline or draining
  ARGV[2]  cursor   string   where the slice before ended, or "0"
  ARGV[3]  now_ms   integer, or "" for Redis TIME (tests pass their own)

  Returns  {"audited", the cursor of the next slice or "" if none follows, members looked at, {kind, id, what is wrong}…}
           | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/clock lib/pool lib/record lib/job lib/terms lib/agent lib/ledger
  Cost     O(200)
]]
local COUNT = 64
-- Timers look every minute, and an amnesty puts everything off.
local LATE_MS = 180000
local ENDED = { completed = true, failed = true, cancelled = true }

local refused = pool.enter(ARGV[3])
if refused then
  return refused
end
local set = ARGV[1]

local function look_at_job(id)
  local j = job:need(id)
  if not j then
    ledger.add('job', id, 'stands in the set ' .. set .. ' and has no record')
  elseif set == 'ended' and not ENDED[j.state] or set ~= 'ended' and j.state ~= set then
    ledger.add('job', id, 'stands in the set ' .. set .. ' and is ' .. j.state)
  elseif not redis.call('ZSCORE', key('jobs'), id) then
    ledger.add('job', id, 'is ' .. j.state .. ' and not in the list of jobs')
  end
end

-- Ended jobs are forgotten together, in the order of their end or of when something was in the way of that.
local function look_at_ended(id, at)
  look_at_job(id)
  local late = pool.now - math.max(tonumber(at) + pool.job_keep, pool.amnesty)
  if late > LATE_MS then
    ledger.add('job', id, 'should have been forgotten ' .. math.floor(late / 1000) .. ' s ago: does a coordinator run?')
  end
end

local function look_at_agent(id)
  local a = agent:need(id)
  if not a then
    ledger.add('agent', id, 'stands among those that are ' .. set .. ' and has no record')
  elseif set == 'draining' and not a.draining or set ~= 'draining' and a.state ~= set then
    ledger.add('agent', id, 'stands among those that are ' .. set .. ' and is ' .. a.state)
  elseif not redis.call('ZSCORE', key('agents'), id) then
    ledger.add('agent', id, 'is ' .. a.state .. ' and not in the list of agents')
  end
end

local page, kind, look
if set == 'ended' then
  page, kind, look = redis.call('ZSCAN', key('ended'), ARGV[2], 'COUNT', COUNT), 'job', look_at_ended
elseif set == 'blocked' or set == 'delayed' or set == 'scheduled' or set == 'running' then
  page, kind, look = redis.call('SSCAN', key(set), ARGV[2], 'COUNT', COUNT), 'job', look_at_job
else
  page, kind, look = redis.call('SSCAN', key('agents', set), ARGV[2], 'COUNT', COUNT), 'agent', look_at_agent
end
for i = 1, #page[2], set == 'ended' and 2 or 1 do
  ledger.look(kind, page[2][i], 2, look, page[2][i + 1])
end
return ledger.close(page[1] ~= '0' and page[1] or '')
