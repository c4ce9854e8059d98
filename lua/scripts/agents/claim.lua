--[[ agents/claim: hands an agent the jobs that wait for it, each under a lease. A repeated number gets the same leases.

  KEYS[1]  pool       hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent     none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  agent      string
  ARGV[2]  epoch      integer  its incarnation
  ARGV[3]  number     integer  the agent's own number for this claim
  ARGV[4]  processes  integer  0..64 more of them
  ARGV[5]  requests   integer  0..256 more to models
  ARGV[6]  measures   JSON, or "" for none
  ARGV[7]  reachable  integer  milliseconds from now in which a job reaches the agent at once
  ARGV[8]  nonce      string   random; lease ids are made of it
  ARGV[9]  now_ms     integer, or "" for Redis TIME (tests pass their own)

  Returns  {"claimed", {{"job attempt lease", spec, and unless they are all "": devices, the agent's name of the model,
           prompt}…}, {cancelled job…}, watched} | {"unknown_agent"}
           | {"superseded"} | {"removed"} | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/int lib/later lib/clock lib/pool lib/behind lib/event lib/record lib/sets lib/segment lib/job lib/retention lib/ending lib/avoid lib/terms lib/agent lib/room lib/rank lib/fit lib/capable lib/held lib/session lib/place lib/binding lib/attempt lib/class lib/fair lib/line lib/queue lib/dependencies lib/probe lib/hold lib/catalog lib/members lib/breaker lib/serving lib/settle lib/due lib/caller lib/measure lib/claiming
  Cost     O(32 · log N)
]]
local refused = pool.enter(ARGV[9])
if refused then
  return refused
end
local a, turned_away = caller.admit(ARGV[1], tonumber(ARGV[2]))
if not a then
  return turned_away
end
local number = tonumber(ARGV[3])
local jobs = claiming.before(a, number)
if not jobs then
  measure.take(a, ARGV[6])
  local left = { process = tonumber(ARGV[4]), inference = tonumber(ARGV[5]) }
  jobs = claiming.hand_out(a, number, left, ARGV[8], tonumber(ARGV[7]))
end
return due.finish({ 'claimed', claiming.leases(a, jobs), caller.cancelled(a), caller.watched(a) })
