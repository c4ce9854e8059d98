--[[ output/append: what an attempt writes, out of an upload that lasts as long as the attempt. An attempt that uploads has
     begun.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  agent    string
  ARGV[2]  job      string
  ARGV[3]  attempt  integer
  ARGV[4]  lease    string
  ARGV[5]  offset   integer  bytes that the attempt wrote before
  ARGV[6]  data     bytes    of its standard output, or of an answer
  ARGV[7]  now_ms   integer, or "" for Redis TIME (tests pass their own)

  Returns  {"appended", where the output ends} | {"gap", where it ends}: the chunk begins after that | {"too_long"}: no answer
           is that long | {"stale"} | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/int lib/clock lib/pool lib/behind lib/record lib/sets lib/segment lib/job lib/retention lib/output
  Cost     O(1)
]]
local refused = pool.enter(ARGV[7])
if refused then
  return refused
end
local j = job:load(ARGV[2])
local is_current = j and j.state == 'running' and j.agent == ARGV[1] and j.attempt == tonumber(ARGV[3])
  and j.lease == ARGV[4]
if not is_current then
  return { 'stale' }
elseif j.kind ~= 'process' and tonumber(ARGV[5]) + #ARGV[6] > segment.MOST_OF_ANSWER then
  return { 'too_long' }
end
job:put(j, 'started', j.started or pool.now)
local ends = output.append(j, tonumber(ARGV[5]), 'o', ARGV[6])
if ends then
  return { 'gap', ends }
end
behind.write()
job:flush()
return pool.finish({ 'appended', j.out })
