--[[ tickets/use: a client has brought a ticket to the agent that it is for: it becomes an attempt under a lease. A repeat gets
     the same lease; a ticket that comes late is served if there is room.

  KEYS[1]  pool      hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent    none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  agent     string
  ARGV[2]  epoch     integer  its incarnation
  ARGV[3]  job       string   the ticket's id
  ARGV[4]  nonce     string   random; the lease id is made of it
  ARGV[5]  now_ms    integer, or "" for Redis TIME (tests pass their own)

  Returns  {"leased", attempt, lease, the agent's name of the model} | {"busy"}: it came late, and there is no room | {"gone"}: it was used, or is not for this
           agent | {"unknown_agent"} | {"superseded"} | {"removed"} | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/int lib/later lib/clock lib/pool lib/behind lib/event lib/record lib/sets lib/segment lib/job lib/retention lib/ending lib/avoid lib/terms lib/agent lib/room lib/rank lib/fit lib/capable lib/held lib/session lib/place lib/binding lib/attempt lib/class lib/fair lib/line lib/queue lib/dependencies lib/hold lib/catalog lib/members lib/breaker lib/serving lib/settle lib/due lib/caller
  Cost     O(log N)
]]
local refused = pool.enter(ARGV[5])
if refused then
  return refused
end
local a, turned_away = caller.admit(ARGV[1], tonumber(ARGV[2]))
if not a then
  return turned_away
end
local j = job:load(ARGV[3])
local entry = j and agent.entry(a, j.id)
if not j or j.ticket ~= a.id then
  return { 'gone' }
end

local function leased()
  return { 'leased', j.attempt, j.lease, agent.entry(a, j.id).model }
end

if entry and entry.state == 'running' then
  -- The agent counts from this call.
  job:put(j, 'lease_until', pool.now + pool.lease)
  return due.finish(leased())
end

-- Whether a place was kept, or there is one still.
local function has_place()
  if entry and j.state == 'scheduled' then
    return true
  end
  -- One that is half-open is tried with what another may try again, and a ticket is for this agent alone.
  local is_in_service = a.state == 'healthy' or a.state == 'degraded'
  local left = room.beside(a)
  local slots, taken = room.slots(a, j.kind, j.model, left)
  local may_begin = is_in_service and not a.draining and not a.leaving
  local devices = taken < slots and may_begin and room.devices_for(a, j.model, left)
  if devices then
    sets.leave('ended', j.id)
    job:put(j, 'ended', nil)
    binding.bind(j, a, devices)
  end
  return devices and true or false
end

local came_late = j.state == 'failed' and j.attempt == 0 and j.reason == 'ticket_unused'
if j.state ~= 'scheduled' and not came_late then
  return { 'gone' }
elseif not has_place() then
  return due.finish({ 'busy' })
end
attempt.claim(j, a, ARGV[4], attempt.WITH_NO_CLAIM)
record.ask('ZREM', key('tickets', j.owner), j.id)
rank.update(a)
return due.finish(leased())
