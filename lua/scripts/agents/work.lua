--[[ agents/work: takes in what happened to attempts (starts, output, ends), and hands their agents the jobs that wait for
     them, each under a lease. Repeats are harmless, and a repeated claim gets the same leases.

  KEYS[1]  pool       hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent     none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  now_ms     integer, or "" for Redis TIME (tests pass their own)
  ARGV[2…] agents     9 each, one or more: agent; epoch (its incarnation); number (its own for its claim, or "" if it claims
                      nothing; then the next four are ""); processes (0..64 more of them, with those whose ends are reported);
                      requests (0..256 more to models, likewise); reachable (milliseconds from now in which a job reaches the
                      agent at once); nonce (random; lease ids are made of it); measures (JSON, or "" for none); and how many
                      reports follow, all agents together at most 64, or 32 if one claims
           reports    9 each: job, attempt, lease, event, and for event
                      "output": offset, stream (o or e), bytes, and ""s     "failed": reason, exit, signal, message, ""
                      "completed": result, usage (each JSON, or "" for none), message, receipt, the model that it names (or ""s)
                      "started", "cancelled", "released": ""s

  Returns  {"heard", {told…}} | {"turned_away", {told…}}: none was heard | {"no_pool"} | {"newer_schema"}; each is told
           {"heard", "answer…", {{"job attempt lease", spec, and unless they are all "": devices, the agent's name of the
           model, prompt}…}, {cancelled job…}, watched} | {"unknown_agent"} | {"superseded"} | {"removed"} | {"alone"}: it is
           to come by itself; an answer is accepted, stale, invalid, or where the output ends
  Uses     lib/calls lib/key lib/int lib/later lib/clock lib/pool lib/behind lib/event lib/record lib/sets lib/segment lib/job lib/retention lib/ending lib/avoid lib/terms lib/agent lib/room lib/rank lib/fit lib/capable lib/held lib/session lib/place lib/binding lib/attempt lib/class lib/fair lib/line lib/queue lib/dependencies lib/probe lib/hold lib/catalog lib/members lib/breaker lib/serving lib/settle lib/due lib/caller lib/measure lib/output lib/meter lib/claiming
  Cost     O((agents + reports + 32) · log N)
]]
local WIDTH = 9

local refused = pool.enter(ARGV[1])
if refused then
  return refused
end

-- The agent whose reports are looked at.
local a

local events = {}

function events.started(j)
  if j.state == 'running' and not j.started then
    job:put(j, 'started', pool.now)
    pool.announce('job', j.id)
  end
  return 'accepted'
end

-- An answer without an end: the agent is told to stop, and what it still writes is dropped.
local function too_long(j)
  attempt.stop(j, a, 'the answer is longer than ' .. segment.MOST_OF_ANSWER .. ' bytes')
end

-- What an answer took, for the key that asked and for those who will.
local function answered(j, usage)
  local told = usage ~= '' and cjson.decode(usage) or {}
  serving.completed(a, j.id, told)
  if not j.probe then
    meter.count(j, told)
  end
  job:put(j, 'usage', usage ~= '' and usage or nil)
end

-- The exit code of an answer whose client, which had brought its ticket there itself, has gone.
local CLIENT_GONE = 499
-- The exit code of a silence of which the client allowed too little for it to say anything about the model.
local TOO_IMPATIENT = 408
-- What says something about the model on this agent, and what another agent would say, too.
local OF_BACKEND = { backend_failed = 'failure', stalled = 'failure', backend_rejected = 'final', load_timeout = 'final' }

-- What a cancelled job still writes is dropped; the attempt stays the agent's until its processes are gone.
function events.output(j, offset, stream, data)
  if j.state ~= 'running' then
    return 'accepted'
  end
  local ends = output.append(j, tonumber(offset), stream, data)
  if j.kind ~= 'process' and j.out > segment.MOST_OF_ANSWER then
    too_long(j)
  end
  return ends or 'accepted'
end

-- Whatever ends an attempt of a cancelled job, the job stays cancelled.
local function closing(handler)
  return function(j, ...)
    job:put(j, 'done', j.lease)
    if j.state == 'running' then
      handler(j, ...)
    else
      attempt.buried(j, a)
    end
    return 'accepted'
  end
end

events.completed = closing(function(j, result, usage, message, receipt)
  job:put(j, 'message', message ~= '' and message or nil)
  if receipt ~= '' then
    job:put(j, 'receipt', receipt)
  end
  if j.suspects or a.trouble_packed then
    breaker.completed(j, a)
  end
  if j.kind ~= 'process' then
    answered(j, usage)
  end
  agent.release(a, j.id)
  job:put(j, 'lease_until', nil)
  job:put(j, 'exit', 0)
  if result ~= '' then
    redis.call('SET', key('result', j.id), result)
  end
  ending.finish(j, 'completed')
end)

-- Nobody has failed, and nobody waits.
local function abandoned(j, message)
  job:put(j, 'reason', 'cancelled')
  job:put(j, 'message', message ~= '' and message or nil)
  agent.release(a, j.id)
  job:put(j, 'lease_until', nil)
  ending.finish(j, 'cancelled')
end

events.failed = closing(function(j, reason, exit, signal, message)
  if j.ticket and tonumber(exit) == CLIENT_GONE then
    abandoned(j, message)
    return
  end
  local refusal, of_backend = reason == 'refused', OF_BACKEND[reason]
  if refusal then
    avoid.add_refusal(j, a.id)
  elseif of_backend then
    -- Whoever passes a refusal on has claimed, asked and told of it: all that a probe is for.
    if j.probe and reason == 'backend_rejected' then
      breaker.completed(j, a)
    end
    if of_backend == 'failure' and j.kind ~= 'process' and tonumber(exit) ~= TOO_IMPATIENT then
      serving.failed(a, j.id, avoid.is_avoided(j, a.id))
    end
    avoid.add(j, a.id)
  else
    avoid.add(j, a.id)
    breaker.suspect(j, a)
  end
  queue.retry(j, a, { reason = reason, exit = tonumber(exit), signal = tonumber(signal),
    message = message ~= '' and message or nil, is_its_own = not refusal, is_final = of_backend == 'final' }, refusal)
end)

events.released = closing(function(j)
  queue.retry(j, a, { reason = 'released' }, not j.started)
end)

events.cancelled = events.released

-- Where the output of a lease ends, once a chunk came that begins after that: whatever the batch says of it later was said
-- in the belief that the chunk was taken.
local mismatched = {}

-- Whether a report has no receipt, or one that such a report may have: of a request that came with a ticket, for the model
-- that was asked for. Whoever calls has checked who signed it.
local function may_have_ended_so(j, event, receipt, model)
  return event ~= 'completed' or receipt == '' or (j.ticket ~= nil and j.model == model)
end

-- A report of an attempt that is over is a repeat if it is the one that ended it, or came before that.
local function answer(at)
  local job_id, number, lease = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2]
  local j = job:load(job_id)
  if not j then
    return 'stale'
  elseif mismatched[lease] then
    return mismatched[lease]
  elseif attempt.is_current(a, job_id, number, lease) then
    if not may_have_ended_so(j, ARGV[at + 3], ARGV[at + 7], ARGV[at + 8]) then
      return 'invalid'
    end
    local told = events[ARGV[at + 3]](j, ARGV[at + 4], ARGV[at + 5], ARGV[at + 6], ARGV[at + 7])
    if told ~= 'accepted' and type(told) == 'number' then
      mismatched[lease] = told
    end
    return told
  end
  return j.done == lease and 'accepted' or 'stale'
end

-- Where the arguments of each agent begin, and the jobs of its reports.
local callers, agent_ids, jobs_of, job_ids = {}, {}, {}, {}
local rest, own = 0
for at = 2, #ARGV, WIDTH do
  if rest == 0 then
    rest, own = tonumber(ARGV[at + 8]), {}
    callers[#callers + 1], agent_ids[#agent_ids + 1], jobs_of[at] = at, ARGV[at], own
  else
    rest = rest - 1
    job_ids[#job_ids + 1], own[#own + 1] = ARGV[at], ARGV[at]
  end
end
agent:read_ahead(agent_ids)
job:read_ahead(job_ids)

-- The answers to the reports that stand behind an agent, of these jobs.
local function answers(at, jobs)
  local told = {}
  for n = 1, #jobs do
    local one = answer(at + n * WIDTH)
    told[n] = one ~= 'accepted' and type(one) == 'number' and int(one) or one
  end
  return table.concat(told, ' ')
end

-- A claim has the room too that the reports have made. Where none brings anything new, that is for whatever waits.
local function claimed(at, has_reported)
  local number = tonumber(ARGV[at + 2])
  local jobs = number and claiming.before(a, number)
  if number and not jobs then
    measure.take(a, ARGV[at + 7])
    local left = { process = tonumber(ARGV[at + 3]), inference = tonumber(ARGV[at + 4]) }
    return claiming.hand_out(a, number, left, ARGV[at + 6], tonumber(ARGV[at + 5]))
  elseif has_reported then
    rank.update(a)
    queue.fill(a)
  end
  return jobs or {}
end

local is_anyone_heard = false
local function take_in(at)
  local turned_away
  a, turned_away = caller.admit(ARGV[at], tonumber(ARGV[at + 1]))
  if not a then
    return turned_away
  end
  is_anyone_heard = true
  local jobs = jobs_of[at]
  agent.read_entries_ahead(a, jobs)
  local told, leases = answers(at, jobs), claiming.leases(a, claimed(at, jobs[1] ~= nil))
  return { 'heard', told, leases, caller.cancelled(a), caller.watched(a) }
end

-- The same for one of several: what its agent has caused is done in its own step, so that it can fail in no other.
local function take_in_whole(at)
  local told = take_in(at)
  rank.settle()
  return told
end

-- The same, should it fail. What can't be taken in keeps nothing from the others: that agent comes by itself, and so does one that
-- claims once this run has done enough. What a step has changed that fails is written, and is there when its agent comes again.
local function try_to_take_in(at)
  if ARGV[at + 2] ~= '' and claiming.has_done_enough() then
    return { 'alone' }
  end
  local is_taken_in, told = pcall(take_in_whole, at)
  if is_taken_in then
    return told
  end
  record.doubt()
  behind.try_to_write()
  return { 'alone' }
end

local all, take = {}, callers[2] and try_to_take_in or take_in
for n, at in ipairs(callers) do
  all[n] = take(at)
end
if not is_anyone_heard then
  return { 'turned_away', all }
end
-- Where what several have put off can't be written, each comes by itself, and finds what it has got.
if callers[2] and behind.try_to_write() then
  record.doubt()
  for n in ipairs(all) do
    all[n] = { 'alone' }
  end
end
return due.finish({ 'heard', all })
