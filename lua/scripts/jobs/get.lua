--[[ jobs/get: one job, with what was submitted and how its attempts failed.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  job      string
  ARGV[2]  now_ms   integer, or "" for Redis TIME (tests pass their own)

  Returns  {"job", spec, {field, value…}, {failure JSON…}} | {"not_found"} | {"no_pool"} | {"newer_schema"}
  Uses     lib/keys lib/pool                          Cost  O(1)
]]
local refused = pool.open(ARGV[2])
if refused then
  return refused
end
local fields = redis.call('HGETALL', key('job', ARGV[1]))
if #fields == 0 then
  return { 'not_found' }
end
return { 'job', redis.call('GET', key('spec', ARGV[1])) or '', fields,
  redis.call('LRANGE', key('failures', ARGV[1]), 0, -1) }
