--[[ pool/backlog: how much a pool has to look after.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  now_ms   integer, or "" for Redis TIME (tests pass their own)

  Returns  {"backlog", overdue, broken, classes, waiting} | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/clock lib/pool                          Cost  O(log N)
]]
local refused = pool.enter(ARGV[1])
if refused then
  return refused
end
return {
  'backlog', redis.call('ZCOUNT', key('due'), '-inf', pool.now), redis.call('HLEN', key('broken')),
  redis.call('ZCARD', key('classes')), redis.call('ZCARD', key('waiting')),
}
