--[[ jobs/get: one job, with what was submitted and how its attempts failed.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  job      string
  ARGV[2]  now_ms   integer, or "" for Redis TIME (tests pass their own)

  Returns  {"job", spec, {field, value…}, {failure JSON…}, result JSON or "", prompt or ""}
           | {"not_found"} | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/clock lib/pool lib/record lib/job          Cost  O(1)
]]
local refused = pool.enter(ARGV[2])
if refused then
  return refused
end
local j = job:need(ARGV[1])
if not j then
  return { 'not_found' }
end
local fields = {}
for field, value in pairs(job.fields(j)) do
  fields[#fields + 1], fields[#fields + 2] = field, value
end
return { 'job', redis.call('GET', key('spec', j.id)) or '', fields, redis.call('LRANGE', key('failures', j.id), 0, -1),
  redis.call('GET', key('result', j.id)) or '', redis.call('GET', key('prompt', j.id)) or '' }
