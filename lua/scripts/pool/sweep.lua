--[[ pool/sweep: settles up to 8 overdue things, and forgets what is old and belongs to no job: events, conversations, who had
     classes made.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  now_ms   integer, or "" for Redis TIME (tests pass their own)

  Returns  {"swept", settled, more, when the next thing falls due in milliseconds, or ""} | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/int lib/clock lib/pool lib/behind lib/event lib/record lib/sets lib/segment lib/job lib/retention lib/ending lib/avoid lib/terms lib/agent lib/room lib/rank lib/fit lib/capable lib/held lib/session lib/place lib/binding lib/attempt lib/class lib/fair lib/line lib/queue lib/dependencies lib/hold lib/catalog lib/members lib/breaker lib/serving lib/settle lib/due
  Cost     O(8 log N)
]]
local SESSIONS_FORGOTTEN = 64

local refused = pool.enter(ARGV[1])
if refused then
  return refused
end
event.forget_old()
session.forget_some(SESSIONS_FORGOTTEN)
class.forget_makers()
ending.watch_old()
local settled = due.settle()
sets.write('due')
local next_due = redis.call('ZRANGE', key('due'), 0, 0, 'WITHSCORES')
return due.write({ 'swept', settled, due.is_left() and '1' or '0', next_due[2] or '' })
