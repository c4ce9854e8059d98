--[[ events/publish: appends an event to the pool's stream.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  topic    string   none of those that are the pool's own
  ARGV[2]  payload  JSON
  ARGV[3]  now_ms   integer, or "" for Redis TIME (tests pass their own)

  Returns  {"published", its number} | {"no_pool"} | {"newer_schema"}
  Uses     lib/key lib/int lib/clock lib/pool lib/event
  Cost     O(1)
]]
local refused = pool.enter(ARGV[3])
if refused then
  return refused
end
event.append(ARGV[1], ARGV[2])
return pool.finish({ 'published', pool.events })
