--[[ jobs/afford: takes from what an API key may have made of classes that there are not yet, since each costs a look at every
     agent.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  owner    string   who submits: the id of an API key
  ARGV[2]  most     integer  new classes in a window; of a call that needs more, as many count
  ARGV[3]  window   integer  milliseconds
  ARGV[4]  now_ms   integer, or "" for Redis TIME (tests pass their own)
  ARGV[5…] classes  JSON, each as jobs/submit has it; at most 1,000

  Returns  {"affordable"} | {"too_many", milliseconds until there is enough} | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/int lib/clock lib/pool lib/record lib/class
  Cost     O(classes + 100 log N), N keys that had classes made of late
]]
local refused = pool.enter(ARGV[4])
if refused then
  return refused
end
local count = 0
for at = 5, #ARGV do
  count = count + 1 - redis.call('EXISTS', key('class', class.id_of(ARGV[at])))
end
if count == 0 then
  return { 'affordable' }
end

-- What was taken comes back evenly, so all that has to be kept is when it is whole again.
local most, window = tonumber(ARGV[2]), tonumber(ARGV[3])
local whole_at = math.max(tonumber(record.ask('ZSCORE', key('makers'), ARGV[1]) or '0'), pool.now)
whole_at = math.min(whole_at, pool.now + window) + math.floor(math.min(count, most) * window / most)
if whole_at > pool.now + window then
  return { 'too_many', whole_at - pool.now - window }
end
class.forget_makers()
redis.call('ZADD', key('makers'), int(whole_at), ARGV[1])
return pool.finish({ 'affordable' })
