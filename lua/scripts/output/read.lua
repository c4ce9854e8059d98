--[[ output/read: a piece of the output of a job's latest attempt; and if somebody follows it, a note of that to its agent and,
     if it goes on only as long as somebody does, to the job.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  job      string
  ARGV[2]  attempt  integer  the attempt that the offset is about, or "" for the latest
  ARGV[3]  offset   integer  the first byte that is wanted
  ARGV[4]  follow   string   "1" if the reader waits for more
  ARGV[5]  since    integer  what was accepted before that time is not wanted, milliseconds; before now, if it is not above 0;
                             or ""
  ARGV[6]  now_ms   integer, or "" for Redis TIME (tests pass their own)

  Returns  {"output", state, attempt, offset, bytes written in all, {segment number, segment…}, kind, owner, agent, when it
           began or "", exit code or "", reason or "", message, usage (JSON) or "", the latest attempt's lease or "",
           since (ms) or ""}: the first segment may begin with what was accepted before that | {"not_found"} | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/int lib/clock lib/pool lib/record lib/segment lib/job lib/terms lib/agent
  Cost     O(1)
]]
local SEGMENTS_READ = 4
local FOLLOWED_FOR_MS = 15000
local NOTED_EVERY_MS = 5000

local refused = pool.enter(ARGV[6])
if refused then
  return refused
end
local j = job:need(ARGV[1])
if not j then
  return { 'not_found' }
end
local offset = tonumber(ARGV[3])
if ARGV[2] ~= '' and tonumber(ARGV[2]) ~= j.attempt then
  offset = 0
end
local since = tonumber(ARGV[5])
if since then
  since = since > 0 and since or pool.now + since
  offset = math.max(offset, segment.since(j, since))
end
local last = segment.of(math.max(0, j.out - 1))
local number = segment.of(offset)
local pieces = {}
while offset < j.out and number <= last and #pieces < 2 * SEGMENTS_READ do
  if number > 0 then
    number = math.max(number, segment.first_kept(j, last))
  end
  pieces[#pieces + 1] = number
  pieces[#pieces + 1] = redis.call('GET', segment.key(j, number)) or ''
  number = number + 1
end
local is_followed = ARGV[4] == '1'
local a = is_followed and j.state == 'running' and agent:load(j.agent)
if a and (a.read_ms or 0) < pool.now + FOLLOWED_FOR_MS - NOTED_EVERY_MS then
  agent:put(a, 'read_ms', pool.now + FOLLOWED_FOR_MS)
end
if is_followed then
  job.await(j)
  record.flush(agent, job)
end
return { 'output', j.state, j.attempt, offset, j.out, pieces, j.kind, j.owner or '', j.agent or '', j.started or '',
  j.exit or '', j.reason or '', j.message or '', j.usage or '', j.lease or '', since and int(since) or '' }
