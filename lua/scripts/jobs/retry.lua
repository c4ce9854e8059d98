--[[ jobs/retry: tries a job again that failed or was cancelled, with a new budget of attempts. It waits again for what it
     depends on, as that stands now, and for its time if it never began. One that has not ended stays as it is, and so does
     one that was cancelled because of another that is kept no more.

  KEYS[1]  pool    hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent  none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  job     string
  ARGV[2]  most    integer  unended jobs that the pool may hold
  ARGV[3]  now_ms  integer, or "" for Redis TIME (tests pass their own)

  Returns  {"done", state} | {"completed"} | {"forgotten"}: what the model was asked is kept no more | {"ending"}: the processes of its last attempt are not gone yet | {"full"}
           | {"not_found"} | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/int lib/later lib/clock lib/pool lib/behind lib/event lib/record lib/sets lib/segment lib/job lib/retention lib/ending lib/avoid lib/terms lib/agent lib/room lib/rank lib/fit lib/capable lib/held lib/session lib/place lib/binding lib/attempt lib/class lib/fair lib/line lib/queue lib/dependencies lib/hold lib/catalog lib/members lib/breaker lib/serving lib/settle lib/due
  Cost     O(dependencies · log N)
]]
local refused = pool.enter(ARGV[3])
if refused then
  return refused
end
local j = job:need(ARGV[1])
if not j then
  return { 'not_found' }
elseif j.state == 'completed' then
  return { 'completed' }
elseif j.cancelling then
  return { 'ending' }
elseif j.state ~= 'failed' and j.state ~= 'cancelled' then
  return due.finish({ 'done', j.state })
elseif j.ticket
  or (j.kind ~= 'process' and (not j.keeps or redis.call('EXISTS', key('prompt', j.id)) == 0)) then
  return { 'forgotten' }
elseif redis.call('ZCARD', key('jobs')) - redis.call('ZCARD', key('ended')) >= tonumber(ARGV[2]) then
  return { 'full' }
elseif dependencies.is_hopeless(j) then
  return due.finish({ 'done', j.state })
end
local depends_on = dependencies.of(j)
sets.leave('ended', j.id)
sets.leave('outputs', j.id)
for _, field in ipairs({ 'ended', 'exit', 'signal', 'reason', 'message', 'avoid', 'refused', 'needs', 'order', 'waits', 'suspects',
  'probe', 'not_after', 'within', 'awaited' }) do
  job:put(j, field, nil)
end
if j.attempt > 0 then
  -- The wait after an attempt that failed, and no wish of the submitter.
  job:put(j, 'not_before', nil)
end
job:put(j, 'free', j.attempt)
event.job('retried', j)
dependencies.restart(j, depends_on)
return due.finish({ 'done', j.state })
