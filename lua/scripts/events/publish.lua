--[[ events/publish: appends an event to the pool's stream.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  topic    string   none of those that are the pool's own
  ARGV[2]  payload  JSON
  ARGV[3]  idem     string   what makes a repeat known as one while the event is kept; "" if nothing does
  ARGV[4]  now_ms   integer, or "" for Redis TIME (tests pass their own)

  Returns  {"published", its number} | {"reused"}: that key came with another event | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/int lib/clock lib/pool lib/event
  Cost     O(100 log N), N keys that are remembered
]]
local refused = pool.enter(ARGV[4])
if refused then
  return refused
end
if ARGV[3] ~= '' then
  local number, topic, payload = event.published(ARGV[3])
  if number and topic == ARGV[1] and payload == ARGV[2] then
    return { 'published', number }
  elseif number then
    return { 'reused' }
  end
end
event.append(ARGV[1], ARGV[2])
local trouble = event.write()
if trouble then
  error('events can not be written: ' .. trouble, 0)
end
if ARGV[3] ~= '' then
  event.remember(ARGV[3])
end
return pool.finish({ 'published', pool.events })
