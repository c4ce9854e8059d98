--[[ agents/drain: an operator drains an agent, or lets it take work again.

  KEYS[1]  pool      hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent    none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  agent     string
  ARGV[2]  draining  string   "1" drains, "" resumes
  ARGV[3]  now_ms    integer, or "" for Redis TIME (tests pass their own)

  Returns  {"done"} | {"not_found"} | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/int lib/later lib/clock lib/pool lib/behind lib/event lib/record lib/sets lib/segment lib/job lib/retention lib/ending lib/avoid lib/terms lib/agent lib/room lib/rank lib/fit lib/capable lib/held lib/session lib/place lib/binding lib/attempt lib/class lib/fair lib/line lib/queue lib/dependencies lib/hold lib/catalog lib/members lib/breaker lib/serving lib/settle lib/due
  Cost     O(classes + queue)
]]
local refused = pool.enter(ARGV[3])
if refused then
  return refused
end
local a = agent:need(ARGV[1])
if not a then
  return { 'not_found' }
end
if (ARGV[2] == '1') ~= (a.draining ~= nil) then
  event.agent(ARGV[2] == '1' and 'drained' or 'resumed', a.id)
end
if ARGV[2] == '1' then
  redis.call('SADD', key('agents', 'draining'), a.id)
  agent:put(a, 'draining', '1')
  breaker.send_away_bound(a)
else
  redis.call('SREM', key('agents', 'draining'), a.id)
  agent:put(a, 'draining', nil)
end
rank.update(a)
queue.fill(a)
pool.announce('agent', a.id)
return due.finish({ 'done' })
