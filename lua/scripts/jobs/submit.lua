--[[ jobs/submit: accepts jobs, all of them or none, and binds each at once if an agent is at hand. The same id again, or the
     same idempotency key with the same body, changes nothing.

  KEYS[1]  pool      hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent    none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  owner     string   who submits: the id of an API key, or admin
  ARGV[2]  room      integer  how many more unended jobs the pool must have room for, 0 if that was asked before
  ARGV[3]  most      integer  unended jobs that the pool may hold
  ARGV[4]  unserved  string   "1" to accept jobs even if no agent could ever run them
  ARGV[5]  explain   string   "1" to explain the choice for the last job
  ARGV[6]  now_ms    integer, or "" for Redis TIME (tests pass their own)
  ARGV[7…] jobs      7 each, at most 32: id, class (JSON {kind, model, gpus, labels: [name, value] pairs} and, for jobs that
                     want their GPUs to themselves, exclusive: true; always spelled the same way), what its record keeps as it
                     was submitted, packed: what stands between the class and the time, and what stands behind that (see
                     lib/job), spec (JSON, as it was submitted), options: "" or JSON
                     {not_before, idem: {key, body}, depends_on: [job…], within
                     (ms until it has begun, or fails), come_by (when it is accepted at the latest, by the clock of
                     Redis), keeps (ms that a prompt and its answer are kept after the end), avoid: an agent, awaited:
                     true if it goes on only as long as somebody follows it}, and the prompt or ""

  Returns  {"submitted", {"job state agent score"…}, explanation} | {"full"}: the pool holds as many jobs as it may
           | {"full_of_prompts"}: it holds as many bytes of what models are asked as it may, or
             half as many are the owner's
           | {"late", the clock of Redis (ms)}: one has come later than it may
           | {"survey"}: the caller finds out whether any agent could ever run them | {"no_dependency", index, job}
           | {"reused", index}: the idempotency key was used for another body | {"no_pool"} | {"newer_schema"};
           only "submitted" has written jobs; an explanation is {} or {weights, candidates, reasons, examined}
  Uses     lib/calls lib/key lib/int lib/later lib/clock lib/pool lib/behind lib/event lib/record lib/sets lib/segment lib/job lib/retention lib/ending lib/avoid lib/terms lib/agent lib/room lib/rank lib/fit lib/capable lib/held lib/session lib/place lib/binding lib/lineup lib/attempt lib/class lib/fair lib/line lib/queue lib/dependencies lib/idempotency lib/hold lib/catalog lib/members lib/breaker lib/serving lib/settle lib/due lib/explain
  Cost     O(jobs · log N); O(128) more for the first job of a class
]]
local FIELDS = 7
local MANY = 8

local refused = pool.enter(ARGV[6])
if refused then
  return refused
end

local created, packed_ids = cmsgpack.pack(pool.now), {}

-- The id of a class, packed.
local function packed_id(spec)
  packed_ids[spec] = cmsgpack.pack(class.id_of(spec))
  return packed_ids[spec]
end

local function read(at)
  local cid = packed_ids[ARGV[at + 1]] or packed_id(ARGV[at + 1])
  local j = job.new(ARGV[at], cid .. ARGV[at + 2] .. created .. ARGV[at + 3])
  if ARGV[at + 5] == '' then
    return j, nil
  end
  local options = cjson.decode(ARGV[at + 5])
  job:put(j, 'within', options.within)
  job:put(j, 'keeps', options.keeps)
  job:put(j, 'avoid', options.avoid)
  job:put(j, 'not_after', options.within and pool.now + options.within)
  job:put(j, 'awaited', options.awaited and pool.now + pool.lease)
  return j, options
end

local ids = {}
for at = 7, #ARGV, FIELDS do
  ids[#ids + 1] = ARGV[at]
end
if not job:expect_none(ids) then
  job:read_ahead(ids)
end

-- The jobs of this call or, where it is a repeat, those that stand for them, what few have beside, and whether they were there;
-- and by the id that the caller made for each, the job that stands for it.
local jobs, options_of, are_there, meant = {}, {}, {}, {}
for at = 7, #ARGV, FIELDS do
  local j, options = read(at)
  local there = options and idempotency.find(options) or meant[j.id] or job:load(j.id)
  local missing = options and not there and dependencies.missing(options, meant)
  if there == 'reused' then
    return { 'reused', #jobs }
  elseif missing then
    return { 'no_dependency', #jobs, missing }
  elseif not there and options and options.come_by and pool.read_ms > options.come_by then
    return { 'late', int(pool.read_ms) }
  end
  local n = #jobs + 1
  jobs[n], options_of[n], are_there[n] = there or j, options or false, there ~= nil
  meant[j.id] = jobs[n]
end

-- Where the arguments of a job stand.
local function place_of(n)
  return 7 + (n - 1) * FIELDS
end

local function are_all_there()
  for n = 1, #jobs do
    if not are_there[n] then
      return false
    end
  end
  return true
end

-- Whether so many more jobs are more than the pool may hold. Where all jobs are few enough, how many have ended makes no difference.
local function is_full(room, most)
  local held = room > 0 and redis.call('ZCARD', key('jobs')) + room or 0
  return held > most and held - redis.call('ZCARD', key('ended')) > most
end

if is_full(tonumber(ARGV[2]), tonumber(ARGV[3])) and not are_all_there() then
  return { 'full' }
end

-- Bytes of prompts that are to be held beside those that are.
local asked = 0
for n = 1, #jobs do
  asked = asked + (are_there[n] and 0 or #ARGV[place_of(n) + 6])
end
if asked > 0 and retention.is_full_of_prompts(asked, ARGV[1]) then
  return due.write({ 'full_of_prompts' })
end

-- Whether new jobs need the same, so that what is found for one is found for the other.
local function need_the_same(j, other)
  if j.alike == other.alike and not (j.avoid or other.avoid) then
    return true
  end
  return j.class == other.class and j.vram == other.vram and j.ram == other.ram and j.cpus == other.cpus
    and j.prio == other.prio and j.max == other.max and j.avoid == other.avoid and j.session == other.session
end

-- The job that lib/lineup was asked about last, as long as what it knows is good: for jobs of the same needs, until something
-- else becomes of an agent.
local lined
local function end_lineup()
  if lined then
    lineup.close()
    lined = nil
  end
end

-- Whether lib/lineup may find the agent of a job: of one of several, which goes to whichever is the best; and no agent is on
-- trial.
local function may_line_up(j)
  if not jobs[2] or j.avoid or j.session then
    return false
  end
  rank.settle()
  return rank.steps(j.class) < 2 ^ rank.TRIAL
end

-- At most so many jobs have yet to be placed.
local unplaced = #jobs

local function look_for(j)
  if not (lined and need_the_same(j, lined)) then
    end_lineup()
    lined = may_line_up(j) and j
  end
  if lined then
    return lineup.find(j, unplaced)
  end
  return place.find(j)
end

-- The agent for a job, with its devices; nil if there is none. What was found last, for the job `found`, is good for jobs of
-- the same needs until something becomes of an agent.
local found, found_agent, found_devices
local function find(j)
  if not (found and need_the_same(j, found)) then
    found, found_agent, found_devices = j, look_for(j)
  end
  return found_agent, found_devices
end

local function bind(j, a, devices)
  if lined then
    lineup.bind(j, a, devices)
  else
    binding.bind(j, a, devices)
  end
  found = nil
end

-- Whether it is known that an agent could run the job.
local function is_served(j)
  return find(j)
    or redis.call('EXISTS', key('class', j.class)) == 1 and members.could_serve(j.class, j) ~= false
end

-- Whether it is known that jobs of the same needs could be run: looked at once.
local known, last = {}, nil
local function is_known_to_be_served(j)
  if last and need_the_same(j, last) then
    return true
  end
  local needs = table.concat({ j.class, j.vram, j.ram, j.cpus }, ':')
  known[needs] = known[needs] or is_served(j)
  last = known[needs] and j
  return known[needs]
end

if ARGV[4] ~= '1' then
  for n, j in ipairs(jobs) do
    if not are_there[n] and not is_known_to_be_served(j) then
      return due.write({ 'survey' })
    end
  end
end

if #ARGV > 6 + MANY * FIELDS then
  pool.spare()
end

local used = {}
local function use_class(j, spec)
  used[j.class] = true
  if class.use(j.class, spec) then
    end_lineup()
    members.settle(j.class)
    found = nil
  end
end

local explanation, specs = {}, key('spec', '')
local function accept(n)
  local j, at, options = jobs[n], place_of(n), options_of[n]
  if n == #jobs and ARGV[5] == '1' then
    end_lineup()
    explanation = explain.survey(j, ARGV[at + 1])
  end
  job:adopt(j)
  local spec = ARGV[at + 4]
  if options and options.depends_on then
    spec = dependencies.spell(spec, options, meant)
  end
  record.keep(specs .. j.id, spec)
  if ARGV[at + 6] ~= '' then
    record.keep(key('prompt', j.id), ARGV[at + 6])
    retention.count_prompt(j, #ARGV[at + 6])
  end
  sets.enter('jobs', j.id, 0)
  if not used[j.class] then
    use_class(j, ARGV[at + 1])
  end
  if options then
    idempotency.note(j, options)
    job:put(j, 'not_before', options.not_before)
    if options.depends_on or options.not_before then
      end_lineup()
      dependencies.start(j, options, meant)
      found = nil
      return
    end
  end
  local a, devices = find(j)
  if a then
    bind(j, a, devices)
  else
    queue.pend(j)
  end
end

-- The scores, as they are spelled: of several jobs many have the same.
local spelled = {}
local function spell(score)
  spelled[score] = string.format('%.6f', score)
  return spelled[score]
end

local replies = {}
for n = 1, #jobs do
  local j = jobs[n]
  if not are_there[n] then
    accept(n)
  end
  unplaced = unplaced - 1
  local score = j.score or 0
  replies[n] = j.id .. ' ' .. j.state .. ' ' .. (j.agent or '') .. ' ' .. (spelled[score] or spell(score))
end
end_lineup()
return due.finish({ 'submitted', replies, explanation })
