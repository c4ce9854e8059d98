--[[ audit/jobs: compares a slice of the pool's jobs with everything that has to know of them. It writes nothing.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  after    string   the last job of the slice before, or ""
  ARGV[2]  now_ms   integer, or "" for Redis TIME (tests pass their own)

  Returns  {"audited", the last job of the slice or "" if none follow, jobs looked at, {kind, id, what is wrong}…}
           | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/clock lib/pool lib/record lib/segment lib/job lib/terms lib/agent lib/ledger
  Cost     O(400)
]]
local SLICE = 64
local READS_OF_A_JOB = 15
local SETS = { blocked = true, delayed = true, scheduled = true, running = true }
local ENDED = { completed = true, failed = true, cancelled = true }

local refused = pool.enter(ARGV[2])
if refused then
  return refused
end

local function wrong(j, text)
  ledger.add('job', j.id, text)
end

-- A job is in the set of its state, and in no other.
local function look_at_sets(j)
  for set in pairs(SETS) do
    local is_member = redis.call('SISMEMBER', key(set), j.id) == 1
    if is_member ~= (j.state == set) then
      wrong(j, is_member and 'stands in the set ' .. set .. ' and is ' .. j.state or 'is ' .. set .. ' and not in that set')
    end
  end
  local is_listed = redis.call('ZSCORE', key('ended'), j.id)
  if (is_listed and true or false) ~= (ENDED[j.state] or false) then
    wrong(j, is_listed and 'stands among the ended jobs and is ' .. j.state or 'has ended and is not listed so')
  end
  local is_counted = redis.call('ZSCORE', key('outputs'), j.id) and true or false
  if is_counted ~= (ENDED[j.state] ~= nil and j.out > 0) then
    wrong(j, is_counted and 'stands among those with output' or 'has output and does not stand among those that do')
  end
  local order = redis.call('ZSCORE', key('pending', j.class), j.id)
  if j.state == 'pending' and not order then
    wrong(j, 'is pending and not in the queue of its class')
  elseif j.state == 'pending' and tonumber(order) ~= j.order then
    wrong(j, 'stands at another place of its queue than its order says')
  elseif j.state ~= 'pending' and order then
    wrong(j, 'stands in the queue of its class and is ' .. j.state)
  end
end

-- When a job has to be looked at the latest; nil if nothing has to happen to it, 'some time' if the settings say when.
local function latest_look(j)
  if j.state == 'scheduled' then
    return j.bound_until
  elseif j.state == 'running' then
    return job.gone_at(j)
  elseif j.state == 'delayed' then
    return j.not_before
  elseif j.state == 'pending' then
    return j.not_after
  elseif ENDED[j.state] and (j.keeps or j.cancelling or j.dependents) then
    return 'some time'
  end
  return nil
end

local function look_at_due(j)
  local latest = latest_look(j)
  local at = latest and redis.call('ZSCORE', key('due'), 'job:' .. j.id)
  if latest and not at then
    wrong(j, 'is ' .. j.state .. ' and will never be looked at again')
  elseif type(latest) == 'number' and tonumber(at) > math.max(latest, pool.amnesty) then
    wrong(j, 'is ' .. j.state .. ' and would be looked at too late')
  end
end

-- What its agent holds is this very attempt.
local function look_at_agent(j)
  if j.state ~= 'scheduled' and j.state ~= 'running' then
    return
  end
  local a = j.agent and agent:load(j.agent)
  if not a then
    -- The agent was forgotten: the job moves on when its time is over.
    return
  end
  local entry = agent.entry(a, j.id)
  if not entry then
    wrong(j, 'is ' .. j.state .. ' on ' .. a.id .. ', which does not hold it')
  elseif (entry.state == 'bound') ~= (j.state == 'scheduled') then
    wrong(j, 'is ' .. j.state .. ', and its agent holds it as ' .. entry.state)
  elseif j.state == 'running' and (entry.lease ~= j.lease or entry.number ~= j.attempt) then
    wrong(j, 'runs under another lease than its agent holds')
  end
end

-- The agent that a job holds knows it, and nothing else is held for its priority.
local function look_at_hold(j)
  local a = j.holds and agent:load(j.holds)
  if not j.holds then
    return
  elseif not a or a.held ~= j.id then
    wrong(j, 'holds agent ' .. j.holds .. ', which does not know')
  elseif redis.call('HGET', key('holds'), j.prio) ~= j.id then
    wrong(j, 'holds an agent, and another job is listed for its priority')
  elseif j.state ~= 'pending' then
    wrong(j, 'holds an agent and is ' .. j.state)
  end
end

-- A job that waits for others is known to as many as it waits for.
local function look_at_dependencies(j)
  if j.state ~= 'blocked' then
    return
  end
  local known = 0
  local spec = cjson.decode(redis.call('GET', key('spec', j.id)) or '{}')
  for _, id in ipairs(type(spec.depends_on) == 'table' and spec.depends_on or {}) do
    if redis.call('ZSCORE', key('dependents', id), j.id) then
      known = known + 1
    end
    ledger.read(1)
  end
  if known ~= (j.needs or 0) or known == 0 then
    wrong(j, 'waits for ' .. (j.needs or 0) .. ' jobs, and ' .. known .. ' know of it')
  end
end

local function look(id)
  local j = job:need(id)
  if not j then
    return ledger.add('job', id, 'is listed and has no record')
  end
  look_at_sets(j)
  look_at_due(j)
  look_at_agent(j)
  look_at_hold(j)
  look_at_dependencies(j)
  if redis.call('EXISTS', key('spec', id)) == 0 then
    wrong(j, 'has lost what was submitted')
  end
  if job.spent(j) > j.max then
    wrong(j, 'has had ' .. job.spent(j) .. ' attempts of ' .. j.max)
  end
  if j.idem and string.match(redis.call('GET', key('idem', j.idem)) or '', '^%S+') ~= id then
    wrong(j, 'is not the one that its idempotency key leads to')
  end
  if j.out and j.out > 0 and redis.call('EXISTS', segment.key(j, segment.of(j.out - 1))) == 0 then
    wrong(j, 'has lost the end of its output')
  end
end

local last = ARGV[1]
local ids = redis.call('ZRANGEBYLEX', key('jobs'), last == '' and '-' or '(' .. last, '+', 'LIMIT', 0, SLICE)
for _, id in ipairs(ids) do
  ledger.look('job', id, READS_OF_A_JOB, look)
  last = id
  if ledger.is_full() then
    return ledger.close(last)
  end
end
return ledger.close(#ids == SLICE and last or '')
