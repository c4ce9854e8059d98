--[[ usage/forget: forgets what an API key has had of models, when the key is revoked.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  owner    string   the key's id
  ARGV[2]  now_ms   integer, or "" for Redis TIME (tests pass their own)

  Returns  {"forgotten"} | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/clock lib/pool          Cost  O(models)
]]
local refused = pool.enter(ARGV[2])
if refused then
  return refused
end
redis.call('DEL', key('usage', ARGV[1]))
redis.call('ZREM', key('due'), 'usage:' .. ARGV[1])
return pool.finish({ 'forgotten' })
