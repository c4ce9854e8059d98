--[[ jobs/submit: accepts a job and binds it at once if an agent is at hand. The same id again changes nothing.

  KEYS[1]   pool      hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]   absent    none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]   job       string
  ARGV[2]   class     JSON     {kind, model, gpus, labels: [name, value] pairs} and, for jobs that want their
                     GPUs to themselves, exclusive: true; always spelled the same way
  ARGV[3]   kind      string   process or inference
  ARGV[4]   model     string   "" for a process
  ARGV[5]   gpus      integer
  ARGV[6]   vram      integer  megabytes on each GPU
  ARGV[7]   ram       integer  megabytes
  ARGV[8]   cpus      integer  thousandths of a CPU
  ARGV[9]   priority  integer  -1000..1000
  ARGV[10]  max       integer  attempts
  ARGV[11]  title     string   the command, at most 60 bytes
  ARGV[12]  spec      JSON     the job as it was submitted, with its owner
  ARGV[13]  unserved  string   "1" to accept it even if no agent could ever run it
  ARGV[14]  explain   string   "1" to explain the choice
  ARGV[15]  most      integer  unended jobs that the pool may hold
  ARGV[16]  now_ms    integer, or "" for Redis TIME (tests pass their own)
  ARGV[17]  owner     string   the API key that submits it, or admin
  ARGV[18]  exclusive string   "1" if it wants its GPUs to itself

  Returns  {"full"}: the pool holds as many jobs as it may | {"scheduled", agent, score, explanation} | {"pending", explanation} | {"survey"}: no job was written, and
           the caller finds out whether any agent could ever run it | {"no_pool"} | {"newer_schema"};
           an explanation is {} or {weights, candidates, reasons, examined}
  Uses     lib/key lib/int lib/later lib/clock lib/pool lib/record lib/segment lib/job lib/ending lib/avoid lib/agent lib/room lib/rank lib/fit lib/capable lib/held lib/place lib/binding lib/attempt lib/fair lib/queue lib/class lib/hold lib/members lib/breaker lib/settle lib/due lib/explain
  Cost     O(log N); O(256) for the first job of a class
]]
local refused = pool.enter(ARGV[16])
if refused then
  return refused
end

local function placed(j, explanation)
  if j.agent then
    return { 'scheduled', j.agent, string.format('%.6f', j.score or 0), explanation }
  end
  return { 'pending', explanation }
end

if redis.call('EXISTS', key('job', ARGV[1])) == 1 then
  return placed(job:load(ARGV[1]), {})
end
if redis.call('ZCARD', key('jobs')) - redis.call('ZCARD', key('ended')) >= tonumber(ARGV[15]) then
  return { 'full' }
end
local cid = class.id_of(ARGV[2])
local j = {
  id = ARGV[1], class = cid, kind = ARGV[3], model = ARGV[4], gpus = tonumber(ARGV[5]), vram = tonumber(ARGV[6]),
  ram = tonumber(ARGV[7]), cpus = tonumber(ARGV[8]), prio = tonumber(ARGV[9]), max = tonumber(ARGV[10]), attempt = 0,
  free = 0, created = pool.now, out = 0, title = ARGV[11], owner = ARGV[17],
  exclusive = ARGV[18] == '1' or nil, is_new = true,
}

local a, devices = place.find(j)
if not a and ARGV[13] ~= '1' then
  local known_class = redis.call('EXISTS', key('class', cid)) == 1
  local served = known_class and members.could_serve(cid, j)
  if not known_class or served == false then
    return due.write({ 'survey' })
  end
end
local explanation = ARGV[14] == '1' and explain.survey(j, ARGV[2]) or {}

job:adopt(j)
redis.call('SET', key('spec', j.id), ARGV[12])
redis.call('ZADD', key('jobs'), '0', j.id)
if class.use(cid, ARGV[2]) then
  members.settle(cid)
end
if not a then
  a, devices = place.find(j)
end
if a then
  binding.bind(j, a, devices)
else
  queue.pend(j)
end
return due.finish(placed(j, explanation))
