--[[ tickets/issue: chooses the agent for a request to a model that its client brings there itself, and keeps a place for it. A
     repeat gets the same place.

  KEYS[1]  pool      hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent    none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  owner     string   who asks: the id of an API key, or admin
  ARGV[2]  job       string   the id that the ticket and its attempt get
  ARGV[3]  class     JSON     {kind, model, gpus, labels}, as for jobs/submit
  ARGV[4]  model     string
  ARGV[5]  title     string   what lists of jobs show of the model
  ARGV[6]  spec      JSON     as for jobs/submit
  ARGV[7]  session   string   the conversation that the request belongs to, or ""
  ARGV[8]  hold      integer  milliseconds that the place is kept; 0 if none is to be
  ARGV[9]  most      integer  unused tickets that the owner may have
  ARGV[10] served    string   "1" if it is known that some agent serves the model
  ARGV[11] explain   string   "1" to explain the choice
  ARGV[12] now_ms    integer, or "" for Redis TIME (tests pass their own)

  Returns  {"issued", agent, endpoint, score, explanation} | {"unreachable", agent, score, explanation}: the best agent can't be
           called or no place is to be kept, and nothing is | {"busy", explanation}: none has room | {"survey"}: the caller finds
           out whether any agent serves the model | {"too_many", ms until there is one less} | {"no_pool"} | {"newer_schema"}
  Uses     lib/key lib/int lib/later lib/clock lib/pool lib/event lib/record lib/segment lib/job lib/retention lib/ending lib/avoid lib/agent lib/room lib/rank lib/fit lib/capable lib/held lib/session lib/place lib/binding lib/attempt lib/fair lib/queue lib/dependencies lib/class lib/hold lib/catalog lib/members lib/breaker lib/serving lib/settle lib/due lib/explain
  Cost     O(log N); O(128) more for the first request to a model
]]
local refused = pool.enter(ARGV[12])
if refused then
  return refused
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

local repeated = told_before(ARGV[2])
if repeated then
  return repeated
end
local cid, unused = class.id_of(ARGV[3]), key('tickets', ARGV[1])
redis.call('ZREMRANGEBYSCORE', unused, '-inf', int(pool.now))
if redis.call('ZCARD', unused) >= tonumber(ARGV[9]) then
  local first = redis.call('ZRANGE', unused, '0', '0', 'WITHSCORES')
  return { 'too_many', int(first[2] - pool.now) }
end
local j = { id = ARGV[2], class = cid, kind = 'inference', model = ARGV[4], gpus = 0, vram = 0, ram = 0, cpus = 0, prio = 0,
  max = 1, attempt = 0, free = 0, created = pool.now, out = 0, title = ARGV[5], backoff = 0,
  owner = ARGV[1], is_new = true, session = ARGV[7] ~= '' and ARGV[7] or nil }
if redis.call('EXISTS', key('class', cid)) == 0 or members.could_serve(cid, j) == false then
  if ARGV[10] ~= '1' then
    return { 'survey' }
  end
end
if class.use(cid, ARGV[3]) then
  members.settle(cid)
end
local explanation = ARGV[11] == '1' and explain.survey(j, ARGV[3]) or {}
local a, devices = place.find(j)
if not a then
  return due.finish({ 'busy', explanation })
end
local score, endpoint = string.format('%.6f', rank.score(a, j)), agent.caps(a).endpoint
if not endpoint or tonumber(ARGV[8]) == 0 then
  return due.finish({ 'unreachable', a.id, score, explanation })
end
j.ticket = a.id
job:adopt(j)
redis.call('SET', key('spec', j.id), ARGV[6])
redis.call('ZADD', key('jobs'), '0', j.id)
redis.call('ZADD', unused, int(pool.now + ARGV[8]), j.id)
binding.bind(j, a, devices, tonumber(ARGV[8]))
return due.finish({ 'issued', a.id, endpoint, score, explanation })
