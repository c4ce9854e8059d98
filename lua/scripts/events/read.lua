--[[ events/read: the events after a number whose topics begin with a prefix, in their order.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  after    integer  the last event that was read; 0 for all that are kept, "" for none before now
  ARGV[2]  prefix   string   of topics; "" for all
  ARGV[3]  limit    integer  1..500
  ARGV[4]  now_ms   integer, or "" for Redis TIME (tests pass their own)

  Returns  {"events", the last event looked at, whether more may follow, {number, topic, at, payload}…}
           | {"lost", the first that is kept}: some of those asked for are kept no more | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/int lib/clock lib/pool lib/event
  Cost     O(2000)
]]
local LOOKED_AT = 2000
local MOST_BYTES = 262144

local refused = pool.enter(ARGV[4])
if refused then
  return refused
end
if ARGV[1] == '' then
  return { 'events', pool.events, '0' }
end
local last, limit = tonumber(ARGV[1]), tonumber(ARGV[3])
if last > pool.events or (last > 0 and last < pool.events and last + 1 < event.first()) then
  return { 'lost', event.first() }
end

local found, bytes, looked = {}, 0, 0
last = event.each_after(last, function(number, topic, at, payload)
  if string.sub(topic, 1, #ARGV[2]) == ARGV[2] then
    found[#found + 1] = { number, topic, at, payload }
    bytes = bytes + #topic + #payload
  end
  looked = looked + 1
  return #found == limit or bytes >= MOST_BYTES or looked == LOOKED_AT
end)
return { 'events', last, last < pool.events and '1' or '0', unpack(found) }
