--[[ models/aliases: reads the public names that stand for names of agents, or sets all of them; every agent is then known by
     them, a few with each script.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  aliases  JSON     {alias: [name…]}, or "" to read only
  ARGV[2]  now_ms   integer, or "" for Redis TIME (tests pass their own)

  Returns  {"aliases", JSON or ""} | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/int lib/clock lib/pool       Cost  O(1)
]]
local refused = pool.enter(ARGV[2])
if refused then
  return refused
end
local before = redis.call('HGET', KEYS[1], 'aliases') or ''
if ARGV[1] == '' then
  return { 'aliases', before }
elseif ARGV[1] ~= before then
  redis.call('HSET', KEYS[1], 'aliases', ARGV[1])
  redis.call('ZADD', key('due'), int(pool.now), 'aliases:*')
end
return pool.finish({ 'aliases', ARGV[1] })
