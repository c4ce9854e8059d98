--[[ agents/register: a run of an agent takes its place in the registry; an earlier run of it is superseded.

  KEYS[1]  pool        hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent      none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  agent       string
  ARGV[2]  public_key  string   base64url
  ARGV[3]  instance    string   the run's random name; the same one again changes nothing
  ARGV[4]  caps        JSON     {max_jobs, ram, cpus, processes, labels, gpus: [{uuid, total}], endpoint, ephemeral, models: {name: {vram, parallel, loaded}}}
  ARGV[5]  facts       JSON     as clients see them
  ARGV[6]  running     JSON     list of [job, attempt, lease] that this run has taken over
  ARGV[7]  now_ms      integer, or "" for Redis TIME (tests pass their own)

  Returns  {"registered", epoch, {job, attempt, lease…}, lost}: what of `running` is to be stopped, and how many of those
           Redis must have known and has lost | {"superseded"} | {"removed"} | {"taken"} | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/int lib/later lib/clock lib/pool lib/behind lib/event lib/record lib/sets lib/segment lib/job lib/retention lib/ending lib/avoid lib/terms lib/agent lib/room lib/rank lib/fit lib/capable lib/held lib/session lib/place lib/binding lib/attempt lib/class lib/fair lib/line lib/queue lib/dependencies lib/hold lib/catalog lib/members lib/breaker lib/serving lib/settle lib/due
  Cost     O(classes + attempts)
]]
local PAST_BYTES = 512
local SETTLED_AT_ONCE = 16

local refused = pool.enter(ARGV[7])
if refused then
  return refused
end
local id = ARGV[1]
local owner = redis.call('HGET', key('identities'), id)
if owner and string.sub(owner, 1, 1) == '!' then
  return { 'removed' }
elseif owner and owner ~= ARGV[2] then
  return { 'taken' }
end
local running = cjson.decode(ARGV[6])
local a = agent:load(id)
pool.hear()

local function flat(leases)
  local list = {}
  for _, lease in ipairs(leases) do
    list[#list + 1], list[#list + 2], list[#list + 3] = lease[1], lease[2], lease[3]
  end
  return list
end

-- A run that was superseded stays so, whenever its call arrives.
if a and string.find(',' .. (a.past or '') .. ',', ',' .. ARGV[3] .. ',', 1, true) then
  return { 'superseded' }
end
if a and a.instance == ARGV[3] then
  return due.finish({ 'registered', a.epoch, {}, '0' })
end

-- The attempts of the run before: what this run has not taken over is gone. Those that would be too much for one script are
-- seen to by those that follow.
local function settle_attempts(kept)
  local counted, count = false, 0
  for _, job_id in ipairs(agent.live_jobs(a)) do
    local entry = agent.entry(a, job_id)
    local is_gone = not kept[job_id] or entry.state == 'bound'
    if is_gone and entry.state == 'running' then
      -- However many it lost, it went down once.
      counted = counted or breaker.failed(a, job_id)
    end
    count = is_gone and count + 1 or count
    local j = (not is_gone or count <= SETTLED_AT_ONCE) and job:load(job_id)
    if j and is_gone then
      settle.left_over(j, a)
    elseif j then
      -- No claim of this run brought it.
      agent.change(a, job_id, terms.attempt(entry.state, entry.number, entry.lease, terms.of(entry.model, entry.vram,
        entry.devices, entry.ram, entry.cpus, entry.since, 0, entry.exclusive, entry.edge, entry.ticket)))
      job:put(j, 'lease_until', pool.now + pool.lease)
    elseif count <= SETTLED_AT_ONCE then
      agent.release(a, job_id)
    else
      sets.enter('due', 'job:' .. job_id, pool.now)
    end
  end
end

-- Labels are kept apart: only classes need them.
local function put_capabilities(caps)
  agent:put(a, 'labels_packed', cmsgpack.pack(caps.labels))
  caps.labels = nil
  caps.models = catalog.named(caps.models)
  a.caps, a.caps_of = caps, nil
  agent:put(a, 'caps_packed', cmsgpack.pack(caps))
end

-- Redis never forgets who has joined.
local seen_ms = a and a.seen_ms or math.huge
local function is_lost(lease)
  return not owner or attempt.is_lost(lease, seen_ms)
end

local epoch, kept, stop, lost = pool.now, {}, {}, 0
if a then
  epoch = math.max(epoch, a.epoch + 1)
  members.expel(a)
  agent:put(a, 'reach_ms', 0)
  agent:put(a, 'past', a.instance .. (a.past and ',' .. string.sub(a.past, 1, PAST_BYTES) or ''))
else
  a = agent:adopt({ id = id, state = 'healthy' })
end
for _, lease in ipairs(running) do
  if attempt.is_current(a, lease[1], tonumber(lease[2]), lease[3]) then
    kept[lease[1]] = true
  else
    stop[#stop + 1] = lease
    lost = lost + (is_lost(lease) and 1 or 0)
  end
end
settle_attempts(kept)
if a.state == 'offline' then
  breaker.return_of(a)
end
local fresh = { epoch = epoch, instance = ARGV[3], seq = 0, claim = 0, reach_ms = 0, next_ms = pool.now + pool.interval,
  seen_ms = pool.now, registered_ms = pool.now, used_seq = a.used_seq or 0 }
for field, value in pairs(fresh) do
  agent:put(a, field, value)
end
agent:put(a, 'leaving', nil)
agent:put(a, 'loss_ms', nil)
agent:put(a, 'measured_packed', nil)
a.left = nil
put_capabilities(cjson.decode(ARGV[4]))
if not a.draining then
  redis.call('SREM', key('agents', 'draining'), id)
end
redis.call('HSET', key('identities'), id, ARGV[2])
redis.call('SET', key('facts', id), ARGV[5])
redis.call('DEL', key('models', id))
redis.call('ZADD', key('agents'), 0, id)
members.enrol(a)
breaker.watch(a)
event.agent('registered', id)
return due.finish({ 'registered', epoch, flat(stop), int(attempt.tell_lost(a, lost)) })
