--[[ agents/get: agents as clients see them: one by its id, or a page of the registry.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  agent    string   the agent, or "" for a page
  ARGV[2]  after    string   the last agent of the page before, or ""
  ARGV[3]  limit    integer  how many at most
  ARGV[4]  now_ms   integer, or "" for Redis TIME (tests pass their own)

  Returns  {"agents", {id, state, draining, leaving, score, live, seen_ms, registered_ms, rtt, ram_left, {uuid, left…},
           facts, the job that it is held for or "", edge, failures, cause, cool-down's end, trial, guarded, models or "",
           {model, tokens per second or "", ms to the first or "", failures, cool-down's end or ""…},
           {kind of work, what hinders it in that…}}…}
           | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/int lib/clock lib/pool lib/record lib/terms lib/agent lib/room lib/rank
  Cost     O(limit)
]]
local refused = pool.enter(ARGV[4])
if refused then
  return refused
end
local LOOKS = 4
local ANY_PROCESS = { kind = 'process', model = '', gpus = 0 }

local function digits(number)
  return number and string.format('%.3f', number) or ''
end

local function served_by(a)
  local list = {}
  for name, served in pairs(agent.served(a)) do
    list[#list + 1], list[#list + 2], list[#list + 3] = name, digits(served.speed), digits(served.first_ms)
    list[#list + 1], list[#list + 2] = served.fails, served.until_ms and int(served.until_ms) or ''
  end
  return list
end

local function hindrances_of(a)
  local measured, list = agent.measured(a), {}
  for _, hindrance in ipairs(measured and measured.hindered or {}) do
    list[#list + 1], list[#list + 2] = hindrance[1], hindrance[2]
  end
  return list
end

-- What is no text is as if it were not there: it must keep no other agent from being shown.
local function text(name)
  local told = redis.pcall('GET', name)
  return type(told) == 'string' and told or ''
end

local function view(a)
  local left, gpus, t = room.left(a), {}, agent.trouble(a)
  for _, device in ipairs(left.devices) do
    gpus[#gpus + 1], gpus[#gpus + 2] = device.uuid, device.left
  end
  return { a.id, a.state, (a.draining or a.leaving) and '1' or '0', a.leaving and '1' or '0',
    string.format('%.4f', rank.score(a, ANY_PROCESS)), agent.attempts(a), a.seen_ms,
    a.registered_ms, a.rtt and tostring(a.rtt) or '', left.ram, gpus,
    text(key('facts', a.id)), a.held or '', a.edge or 0, t.fails, t.cause or '', t.until_ms or '',
    t.trial or '', t.guarded and '1' or '0', text(key('models', a.id)), served_by(a),
    hindrances_of(a) }
end

local reply = { 'agents' }
if ARGV[1] ~= '' then
  local a = agent:need(ARGV[1])
  reply[2] = a and view(a)
  return reply
end

-- A page has as many as it may, whatever else the registry names.
local limit, last = tonumber(ARGV[3]), ARGV[2]
for _ = 1, LOOKS do
  local from = last == '' and '-' or '(' .. last
  local ids = redis.call('ZRANGEBYLEX', key('agents'), from, '+', 'LIMIT', 0, limit)
  for _, id in ipairs(ids) do
    local a = agent:load(id)
    if a then
      reply[#reply + 1] = view(a)
    end
    last = id
    if #reply > limit then
      return reply
    end
  end
  if #ids < limit then
    break
  end
end
return reply
