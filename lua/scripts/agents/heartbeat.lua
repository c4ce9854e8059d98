--[[ agents/heartbeat: an agent says that it lives, what it has left and what it holds; what it holds is renewed, and
     what it should hold but does not goes back.

  KEYS[1]  pool        hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent      none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  agent       string
  ARGV[2]  epoch       integer  its incarnation
  ARGV[3]  seq         integer  rises with every heartbeat; a lower one changes nothing
  ARGV[4]  last_claim  integer  the last claim whose reply it has read
  ARGV[5]  measures    JSON
  ARGV[6]  leases      JSON     list of [job, attempt, lease]
  ARGV[7]  leaving     string   "1" if it is shutting down
  ARGV[8]  models      JSON     what scheduling needs of its models, {name: {vram, parallel, loaded}}, or "" for no change
  ARGV[9]  told        JSON     the same as clients see it, or ""
  ARGV[10] now_ms      integer, or "" for Redis TIME (tests pass their own)

  Returns  {"heard", {job, attempt, lease…}, {cancelled job…}, draining, watched, lost}: how many of its leases Redis must have
           known and has lost, once | {"unknown_agent"} | {"superseded"}
           | {"removed"} | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/int lib/later lib/clock lib/pool lib/behind lib/event lib/record lib/sets lib/segment lib/job lib/retention lib/ending lib/avoid lib/terms lib/agent lib/room lib/rank lib/fit lib/capable lib/held lib/session lib/place lib/binding lib/attempt lib/class lib/fair lib/line lib/queue lib/dependencies lib/hold lib/catalog lib/members lib/breaker lib/serving lib/settle lib/due lib/caller lib/measure
  Cost     O(attempts + classes); O(128) more if its models changed
]]
-- An agent knows of an attempt with a ticket within 10 s, or never. One of its heartbeats may take as long.
local USE_IS_LOST_AFTER_MS = 30000
local TAKEN_BACK_AT_ONCE = 32

local refused = pool.enter(ARGV[10])
if refused then
  return refused
end
local a, turned_away = caller.admit(ARGV[1], tonumber(ARGV[2]))
if not a then
  return turned_away
end
local last_claim = tonumber(ARGV[4])
-- `lost`: leases that are not current, and of which Redis must have known.
local stop, lost, seen_ms = {}, 0, a.seen_ms

local function is_current(lease)
  return attempt.is_current(a, lease[1], tonumber(lease[2]), lease[3])
end

-- Renews what is listed and current; the rest of the list is to be stopped, and so are answers that nobody waits for.
local function renew(leases)
  local listed, current = {}, {}
  for _, lease in ipairs(leases) do
    current[#current + 1] = is_current(lease) and lease[1] or nil
  end
  job:read_ahead(current)
  for _, lease in ipairs(leases) do
    local job_id = lease[1]
    local j = is_current(lease) and job:load(job_id)
    if j then
      listed[job_id] = true
      job:put(j, 'lease_until', pool.now + pool.lease)
      if j.state == 'running' and job.is_forsaken(j) then
        job:put(j, 'reason', 'cancelled')
        job:put(j, 'message', 'nobody waited for the answer any more')
        attempt.cancel(j, a)
      end
    else
      stop[#stop + 1], stop[#stop + 2], stop[#stop + 3] = job_id, lease[2], lease[3]
      lost = lost + (attempt.is_lost(lease, seen_ms) and 1 or 0)
    end
  end
  return listed
end

-- Whether the agent has read by now what an attempt came with.
local function is_known(entry)
  if entry.claim == attempt.WITH_NO_CLAIM then
    return pool.now - entry.since >= USE_IS_LOST_AFTER_MS
  end
  return entry.claim <= last_claim
end

-- The jobs of leases that the agent has heard of, but which it does not list, the oldest first.
local function unlisted(listed)
  local ids = {}
  for job_id, entry in pairs(agent.live(a)) do
    if entry.state ~= 'bound' and not listed[job_id] and is_known(entry) then
      ids[#ids + 1] = job_id
    end
  end
  table.sort(ids)
  return ids
end

-- Nobody holds these. More than a claim or two brought are taken back with the heartbeats that follow, and do not count as lost
-- meanwhile.
local function take_back(ids)
  for n, job_id in ipairs(ids) do
    local j = job:load(job_id)
    if not j then
      agent.release(a, job_id)
    elseif n > TAKEN_BACK_AT_ONCE then
      job:put(j, 'lease_until', pool.now + pool.lease)
    elseif agent.entry(a, job_id).state == 'ending' then
      attempt.buried(j, a)
    else
      queue.retry(j, a, {}, true)
    end
  end
end

-- What is kept for a job that is not bound here any more is kept for nobody.
local function free_unbound()
  for job_id, entry in pairs(agent.live(a)) do
    if entry.state == 'bound' then
      local j = job:load(job_id)
      if not j or j.state ~= 'scheduled' or j.agent ~= a.id then
        agent.release(a, job_id)
      end
    end
  end
end

local function reply()
  return { 'heard', stop, caller.cancelled(a), a.draining and '1' or '0', caller.watched(a), int(attempt.tell_lost(a, lost)) }
end

if tonumber(ARGV[3]) <= a.seq then
  return due.finish(reply())
end
agent:put(a, 'seq', tonumber(ARGV[3]))
agent:put(a, 'seen_ms', pool.now)
agent.count_anew(a)
breaker.heard(a, pool.interval)
if ARGV[8] ~= '' then
  members.serve(a, cjson.decode(ARGV[8]))
  redis.call('SET', key('models', a.id), ARGV[9])
end
measure.take(a, ARGV[5])
take_back(unlisted(renew(cjson.decode(ARGV[6]))))
free_unbound()
breaker.look_at_trial(a)
if ARGV[7] == '1' and not a.leaving then
  agent:put(a, 'leaving', '1')
  agent:put(a, 'reach_ms', 0)
  breaker.send_away_bound(a)
end
rank.update(a)
queue.fill(a)
return due.finish(reply())
