--[[ usage/read: what an API key has had of models.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  owner    string   the key's id, or admin
  ARGV[2]  now_ms   integer, or "" for Redis TIME (tests pass their own)

  Returns  {"usage", {field, value…}} | {"no_pool"} | {"newer_schema"}; fields as in lib/meter
  Uses     lib/calls lib/key lib/clock lib/pool          Cost  O(models)
]]
local refused = pool.enter(ARGV[2])
if refused then
  return refused
end
return { 'usage', redis.call('HGETALL', key('usage', ARGV[1])) }
