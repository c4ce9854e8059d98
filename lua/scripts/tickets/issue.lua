--[[ tickets/issue: chooses the agents for requests to models that their clients bring there themselves, and keeps a place for
     each. A repeat gets the same place.

  KEYS[1]  pool      hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent    none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  now_ms    integer, or "" for Redis TIME (tests pass their own)
  ARGV[2]  hold      milliseconds that a place is kept; 0 if none is to be
  ARGV[3]  most      unused tickets that an owner may have
  ARGV[4]  served    "1" if it is known that some agent serves the model
  ARGV[5]  explain   "1" to explain the choice for the last of them
  ARGV[6…] tickets   6 each, at most 32: owner (who asks: the id of an API key, or admin), job (the id that the ticket and its
                     attempt get), class, what its record keeps in two parts, and spec: all as for jobs/submit

  Returns  {"answered", {answer…}, explanation} | {"no_pool"} | {"newer_schema"}; an explanation is {} or as that of jobs/submit;
           an answer is a line of one of these:
           | "issued agent score endpoint" | "unreachable agent score": the best agent can't be called or no place is to be
           kept, and nothing is
           | "busy": none has room | "survey": the caller finds out whether any agent serves the model
           | "too_many ms", those until there is one less
  Uses     lib/calls lib/key lib/int lib/later lib/clock lib/pool lib/behind lib/event lib/record lib/sets lib/segment lib/job lib/retention lib/ending lib/avoid lib/terms lib/agent lib/room lib/rank lib/fit lib/capable lib/held lib/session lib/place lib/binding lib/attempt lib/class lib/fair lib/line lib/queue lib/dependencies lib/hold lib/catalog lib/members lib/breaker lib/serving lib/settle lib/due lib/lineup lib/explain
  Cost     O(tickets · log N); O(128) more for the first request to a model
]]
local FIELDS = 6
-- One alone is placed as any job is; for several there is a lineup.
local is_alone = #ARGV == 5 + FIELDS

local refused = pool.enter(ARGV[1])
if refused then
  return refused
end

local hold_ms, most = tonumber(ARGV[2]), tonumber(ARGV[3])
local created, packed_ids = cmsgpack.pack(pool.now), {}

-- The id of a class, packed.
local function packed_id(spec)
  packed_ids[spec] = cmsgpack.pack(class.id_of(spec))
  return packed_ids[spec]
end

local function read(at)
  local cid = packed_ids[ARGV[at + 2]] or packed_id(ARGV[at + 2])
  return job.new(ARGV[at + 1], cid .. ARGV[at + 3] .. created .. ARGV[at + 4])
end

-- How many unused tickets each owner has.
local counts = {}

local function is_one_more_allowed(owner)
  return counts[owner] < most
end

-- Milliseconds until the owner has one unused ticket less, if it has as many as it may. Those whose time is over are counted
-- only as long as that makes no difference.
local function too_many(owner)
  local unused = key('tickets', owner)
  counts[owner] = counts[owner] or record.ask('ZCARD', unused)
  if is_one_more_allowed(owner) then
    return nil
  end
  sets.write('tickets:' .. owner)
  redis.call('ZREMRANGEBYSCORE', unused, '-inf', int(pool.now))
  counts[owner] = redis.call('ZCARD', unused)
  if is_one_more_allowed(owner) then
    return nil
  end
  return int(redis.call('ZRANGE', unused, '0', '0', 'WITHSCORES')[2] - pool.now)
end

-- Whether it is known that some agent serves the model.
local function is_served(j)
  return redis.call('EXISTS', key('class', j.class)) == 1 and members.could_serve(j.class, j) ~= false
end

local function issued(a, score)
  return string.format('issued %s %.6f %s', a.id, score, agent.caps(a).endpoint or '')
end

-- What a call was told before whose answer was lost: another place would be one that nobody knows of.
local function told_before(id)
  local known = job:load(id)
  local a = known and known.ticket and agent:load(known.ticket)
  if a then
    return issued(a, known.score or 0)
  end
  return known and 'busy'
end

-- Notes that the class is used, once. Agents that it is made of are found when it is done.
local used = {}
local function use(j, spec)
  if used[j.class] then
    return false
  end
  used[j.class] = true
  local is_to_be_made = class.use(j.class, spec)
  if is_to_be_made then
    if not is_alone then
      lineup.close()
    end
    members.settle(j.class)
  end
  return is_to_be_made
end

-- The agent for a request, with its devices; nil if there is none. `count`: requests to this model that it is to be found for still.
local function find(j, count)
  if is_alone then
    return place.find(j)
  end
  local a, devices = lineup.find(j, count)
  if a and j.session then
    return session.prefer(j, a, devices)
  end
  return a, devices
end

local function bind(j, a, devices, spec)
  job:put(j, 'ticket', a.id)
  job:adopt(j)
  record.keep(key('spec', j.id), spec)
  sets.enter('jobs', j.id, 0)
  sets.enter('tickets:' .. j.owner, j.id, pool.now + hold_ms)
  counts[j.owner] = counts[j.owner] + 1
  if is_alone then
    binding.bind(j, a, devices, hold_ms)
  else
    lineup.bind(j, a, devices, hold_ms)
  end
end

local explanation = {}

local function issue(at, count)
  local repeated = told_before(ARGV[at + 1])
  if repeated then
    return repeated
  end
  local j, spec = read(at), ARGV[at + 2]
  local wait = too_many(j.owner)
  if wait then
    return 'too_many ' .. wait
  end
  local a, devices = find(j, count)
  if not a and ARGV[4] ~= '1' and not is_served(j) then
    return 'survey'
  end
  if use(j, spec) then
    a, devices = find(j, count)
  end
  explanation = ARGV[5] == '1' and explain.survey(j, spec) or {}
  if not a then
    return 'busy'
  end
  if hold_ms == 0 or not agent.caps(a).endpoint then
    return string.format('unreachable %s %.6f', a.id, rank.score(a, j))
  end
  bind(j, a, devices, ARGV[at + 5])
  return issued(a, j.score)
end

if is_alone then
  local answer = issue(6, 1)
  return due.finish({ 'answered', { answer }, explanation })
end

-- Those that ask the same model come one after the other.
local ids, by_class, classes, answers = {}, {}, {}, {}
for at = 6, #ARGV, FIELDS do
  local spec = ARGV[at + 2]
  if not by_class[spec] then
    by_class[spec], classes[#classes + 1] = {}, spec
  end
  ids[#ids + 1], by_class[spec][#by_class[spec] + 1] = ARGV[at + 1], at
end
if not job:expect_none(ids) then
  job:read_ahead(ids)
end
for _, spec in ipairs(classes) do
  for n, at in ipairs(by_class[spec]) do
    answers[(at - 6) / FIELDS + 1] = issue(at, #by_class[spec] - n + 1)
  end
end
lineup.close()
return due.finish({ 'answered', answers, explanation })
