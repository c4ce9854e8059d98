--[[ tickets/issue: chooses the agents for requests to models that their clients bring there themselves, and keeps a place for
     each. A repeat gets the same place.

  KEYS[1]  pool      hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent    none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  now_ms    integer, or "" for Redis TIME (tests pass their own)
  ARGV[2…] tickets   11 each, at most 32: owner (who asks: the id of an API key, or admin), job (the id that the ticket and its
                     attempt get), class (JSON {kind, model, gpus, labels}, as for jobs/submit), model, spec (JSON, as for
                     jobs/submit), session (the conversation that the request belongs to, or ""), hold (milliseconds that the
                     place is kept; 0 if none is to be), most (unused tickets that the owner may have), served ("1" if it is
                     known that some agent serves the model), explain ("1" to explain the choice), and title (what lists of
                     jobs show of the model)

  Returns  {"answered", {answer…}} | {"no_pool"} | {"newer_schema"}; an answer is one of these:
           | {"issued", agent, endpoint, score, explanation} | {"unreachable", agent, score, explanation}: the best agent can't
           be called or no place is to be kept, and nothing is
           | {"busy", explanation}: none has room | {"survey"}: the caller finds out whether any agent serves the model
           | {"too_many", ms until there is one less}
  Uses     lib/key lib/int lib/later lib/clock lib/pool lib/behind lib/event lib/record lib/sets lib/segment lib/job lib/retention lib/ending lib/avoid lib/agent lib/room lib/rank lib/fit lib/capable lib/held lib/session lib/place lib/binding lib/attempt lib/class lib/fair lib/line lib/queue lib/dependencies lib/hold lib/catalog lib/members lib/breaker lib/serving lib/settle lib/due lib/explain
  Cost     O(tickets · log N); O(128) more for the first request to a model
]]
local FIELDS = 11

local refused = pool.enter(ARGV[1])
if refused then
  return refused
end

local function read(at)
  local session = ARGV[at + 5]
  return { id = ARGV[at + 1], class = class.id_of(ARGV[at + 2]), kind = 'inference', model = ARGV[at + 3], gpus = 0, vram = 0,
    ram = 0, cpus = 0, prio = 0, max = 1, attempt = 0, free = 0, created = pool.now, out = 0, title = ARGV[at + 10],
    backoff = 0, owner = ARGV[at], is_new = true, session = session ~= '' and session or nil }
end

-- Milliseconds until the owner has one unused ticket less, if it has as many as it may.
local function too_many(unused, most)
  redis.call('ZREMRANGEBYSCORE', unused, '-inf', int(pool.now))
  if redis.call('ZCARD', unused) < most then
    return nil
  end
  return int(redis.call('ZRANGE', unused, '0', '0', 'WITHSCORES')[2] - pool.now)
end

-- Whether it is known that some agent serves the model.
local function is_served(j)
  return redis.call('EXISTS', key('class', j.class)) == 1 and members.could_serve(j.class, j) ~= false
end

-- What a call was told before whose answer was lost: another place would be one that nobody knows of.
local function told_before(id)
  local known = job:load(id)
  local a = known and known.ticket and agent:load(known.ticket)
  if a then
    return { 'issued', a.id, agent.caps(a).endpoint or '', string.format('%.6f', known.score or 0), {} }
  end
  return known and { 'busy', {} }
end

local function issue(at)
  local repeated = told_before(ARGV[at + 1])
  if repeated then
    return repeated
  end
  local j, spec, unused = read(at), ARGV[at + 2], key('tickets', ARGV[at])
  local wait = too_many(unused, tonumber(ARGV[at + 7]))
  if wait then
    return { 'too_many', wait }
  end
  local a, devices = place.find(j)
  if not a and ARGV[at + 8] ~= '1' and not is_served(j) then
    return { 'survey' }
  end
  if class.use(j.class, spec) then
    members.settle(j.class)
    a, devices = place.find(j)
  end
  local explanation = ARGV[at + 9] == '1' and explain.survey(j, spec) or {}
  if not a then
    return { 'busy', explanation }
  end
  local score, endpoint = string.format('%.6f', rank.score(a, j)), agent.caps(a).endpoint
  if not endpoint or tonumber(ARGV[at + 6]) == 0 then
    return { 'unreachable', a.id, score, explanation }
  end
  j.ticket = a.id
  job:adopt(j)
  redis.call('SET', key('spec', j.id), ARGV[at + 4])
  sets.enter('jobs', j.id, 0)
  redis.call('ZADD', unused, int(pool.now + ARGV[at + 6]), j.id)
  binding.bind(j, a, devices, tonumber(ARGV[at + 6]))
  return { 'issued', a.id, endpoint, score, explanation }
end

local answers = {}
for at = 2, #ARGV, FIELDS do
  answers[#answers + 1] = issue(at)
end
return due.finish({ 'answered', answers })
