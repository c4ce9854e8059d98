--[[ audit/agents: compares a slice of the pool's agents with what they hold, what is promised of them, and where they stand in
     the ranks. It writes nothing.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  after    string   the last agent of the slice before, or ""
  ARGV[2]  now_ms   integer, or "" for Redis TIME (tests pass their own)

  Returns  {"audited", the last agent of the slice or "" if none follow, agents looked at, {kind, id, what is wrong}…}
           | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/clock lib/pool lib/record lib/job lib/terms lib/agent lib/ledger
  Cost     O(400)
]]
local SLICE = 32
local READS_OF_AN_AGENT = 12
local READS_OF_A_CLASS = 3
local STATES = { degraded = true, half_open = true, offline = true }
local ENDED = { completed = true, failed = true, cancelled = true }

local refused = pool.enter(ARGV[2])
if refused then
  return refused
end

local function wrong(a, text)
  ledger.add('agent', a.id, text)
end

local function look_at_sets(a)
  for state in pairs(STATES) do
    local is_member = redis.call('SISMEMBER', key('agents', state), a.id) == 1
    if is_member ~= (a.state == state) then
      wrong(a, (is_member and 'stands among those that are ' or 'does not stand among those that are ') .. state
        .. ' and is ' .. a.state)
    end
  end
  local is_drained = redis.call('SISMEMBER', key('agents', 'draining'), a.id) == 1
  if is_drained ~= (a.draining and true or false) then
    wrong(a, is_drained and 'is listed as draining and does not drain' or 'drains and is not listed so')
  end
  if not redis.call('ZSCORE', key('due'), 'agent:' .. a.id) then
    wrong(a, 'could fall silent without anybody looking')
  end
  if redis.call('EXISTS', key('facts', a.id)) == 0 then
    wrong(a, 'has lost what it said of itself')
  end
  local owner = redis.call('HGET', key('identities'), a.id)
  if owner and string.sub(owner, 1, 1) == '!' then
    wrong(a, 'was removed for good and is still registered')
  end
end

-- A live attempt is one that its job knows of.
local function look_at_attempt(a, job_id, entry)
  local j = job:load(job_id)
  if not j then
    return wrong(a, 'holds job ' .. job_id .. ', which there is not')
  end
  local is_right = j.agent == a.id
  if entry.state == 'bound' then
    is_right = is_right and j.state == 'scheduled'
  elseif entry.state == 'running' then
    is_right = is_right and j.state == 'running' and j.attempt == entry.number and j.lease == entry.lease
  else
    is_right = is_right and ENDED[j.state] and j.cancelling
  end
  if not is_right then
    wrong(a, 'holds job ' .. job_id .. ' as ' .. entry.state .. ', which is ' .. j.state)
  end
end

-- What its live attempts were promised, all together, and whether this run has taken some of them over.
local function promised(a)
  local sum = { ram = 0, cpus = 0, processes = 0, models = {}, devices = {} }
  for _, entry in pairs(agent.live(a)) do
    sum.ram, sum.cpus = sum.ram + entry.ram, sum.cpus + entry.cpus
    sum.is_taken_over = sum.is_taken_over or (entry.state ~= 'bound' and entry.claim == 0)
    if entry.model == '' then
      sum.processes = sum.processes + 1
    else
      sum.models[entry.model] = (sum.models[entry.model] or 0) + 1
    end
    for _, uuid in ipairs(entry.devices) do
      local device = sum.devices[uuid] or { vram = 0, attempts = 0 }
      device.vram, device.attempts = device.vram + entry.vram, device.attempts + 1
      device.exclusive = device.exclusive or entry.exclusive
      sum.devices[uuid] = device
    end
  end
  return sum
end

local function is_same(kept, anew)
  if type(kept) ~= 'table' then
    return kept == anew
  end
  for name, value in pairs(kept) do
    if not is_same(value, anew[name]) then
      return false
    end
  end
  for name in pairs(anew) do
    if kept[name] == nil then
      return false
    end
  end
  return true
end

-- What is kept of how much it holds is what it holds.
local function look_at_tally(a)
  if not is_same(agent.tally(a), agent.count_anew(a)) then
    wrong(a, 'holds something else than is counted')
  end
end

-- Nothing is promised that it has not: unless some of it was promised to a run before, when it may have had more.
local function look_at_promises(a)
  local caps, sum = agent.caps(a), promised(a)
  if sum.is_taken_over then
    return
  end
  local function compare(what, taken, of)
    if taken > of then
      wrong(a, 'has promised ' .. taken .. ' of ' .. of .. ' ' .. what)
    end
  end
  compare('MB of memory', sum.ram, caps.ram)
  compare('thousandths of a CPU', sum.cpus, caps.cpus)
  compare('slots', sum.processes, caps.max_jobs)
  for name, taken in pairs(sum.models) do
    compare('slots of model ' .. name, taken, caps.models[name] and caps.models[name].parallel or 0)
  end
  local totals = {}
  for _, device in ipairs(caps.gpus) do
    totals[device.uuid] = device.total
  end
  for uuid, device in pairs(sum.devices) do
    compare('MB on device ' .. uuid, device.vram, totals[uuid] or 0)
    if device.exclusive and device.attempts > 1 then
      wrong(a, 'has promised device ' .. uuid .. ' to one attempt alone, and ' .. device.attempts .. ' have it')
    end
  end
end

-- The job that holds it knows it.
local function look_at_hold(a)
  local j = a.held and job:load(a.held)
  if a.held and (not j or j.holds ~= a.id) then
    wrong(a, 'is held for job ' .. a.held .. ', which does not know')
  end
end

-- It stands in the ranks where its record says.
local function look_at_ranks(a)
  local standing = agent.standing(a)
  for i, place in ipairs(agent.places(a)) do
    local step, value = standing[2 * i - 1], standing[2 * i]
    for _, cid in ipairs(place.classes) do
      ledger.read(READS_OF_A_CLASS)
      if not redis.call('ZSCORE', key('members', cid), a.id) then
        wrong(a, 'is no member of class ' .. cid .. ', as its record says')
      end
      local at = step and step >= 0 and redis.call('ZSCORE', key('rank:' .. cid, step), a.id)
      if step and step >= 0 and tonumber(at or '') ~= value then
        wrong(a, 'does not stand in the rank of class ' .. cid .. ' where its record says')
      end
      local steps = tonumber(redis.call('HGET', key('class', cid), 'steps') or '0')
      if step and step >= 0 and bit.band(steps, bit.lshift(1, step)) == 0 then
        wrong(a, 'stands in a rank of class ' .. cid .. ' that nobody looks at')
      end
    end
  end
end

local function look(id)
  local a = agent:need(id)
  if not a then
    return ledger.add('agent', id, 'is listed and has no record')
  end
  look_at_sets(a)
  for job_id, entry in pairs(agent.live(a)) do
    ledger.read(1)
    look_at_attempt(a, job_id, entry)
  end
  look_at_tally(a)
  look_at_promises(a)
  look_at_hold(a)
  look_at_ranks(a)
end

local last = ARGV[1]
local ids = redis.call('ZRANGEBYLEX', key('agents'), last == '' and '-' or '(' .. last, '+', 'LIMIT', 0, SLICE)
for _, id in ipairs(ids) do
  ledger.look('agent', id, READS_OF_AN_AGENT, look)
  last = id
  if ledger.is_full() then
    return ledger.close(last)
  end
end
return ledger.close(#ids == SLICE and last or '')
