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
  ARGV[7…] jobs      15 each, at most 32: id, class (JSON {kind, model, gpus, labels: [name, value] pairs} and, for jobs that
                     want their GPUs to themselves, exclusive: true; always spelled the same way), kind (process or
                     inference), model ("" for a process), gpus, vram (megabytes on each GPU), ram (megabytes), cpus (thousandths), priority (-1000..1000), most attempts, title (the command,
                     at most 60 bytes), spec (JSON, as it was submitted), backoff (milliseconds), options: "" or JSON
                     {exclusive, not_before, grace, labels, idem: {key, body}, depends_on: [job…], on_failure, within
                     (ms until it has begun, or fails), come_by (when it is accepted at the latest, by the clock of Redis), keeps (ms that a prompt and its answer are kept after the end),
                     session, avoid: an agent}, and the prompt or ""

  Returns  {"submitted", {{job, state, agent, score}…}, explanation} | {"full"}: the pool holds as many jobs as it may
           | {"full_of_prompts"}: it holds as many bytes of what models are asked as it may, or
             half as many are the owner's
           | {"late", the clock of Redis (ms)}: one has come later than it may | {"survey"}: the caller finds out whether any agent could ever run them | {"no_dependency", index, job}
           | {"reused", index}: the idempotency key was used for another body | {"no_pool"} | {"newer_schema"};
           only "submitted" has written jobs; an explanation is {} or {weights, candidates, reasons, examined}
  Uses     lib/calls lib/key lib/int lib/later lib/clock lib/pool lib/behind lib/event lib/record lib/sets lib/segment lib/job lib/retention lib/ending lib/avoid lib/agent lib/room lib/rank lib/fit lib/capable lib/held lib/session lib/place lib/binding lib/attempt lib/class lib/fair lib/line lib/queue lib/dependencies lib/idempotency lib/hold lib/catalog lib/members lib/breaker lib/serving lib/settle lib/due lib/explain
  Cost     O(jobs · log N); O(128) more for the first job of a class
]]
local FIELDS = 15
local MANY = 8

local refused = pool.enter(ARGV[6])
if refused then
  return refused
end

local function read(at)
  local cid = class.id_of(ARGV[at + 1])
  local options = ARGV[at + 13] ~= '' and cjson.decode(ARGV[at + 13]) or nil
  return {
    id = ARGV[at], class = cid, kind = ARGV[at + 2], model = ARGV[at + 3], gpus = tonumber(ARGV[at + 4]),
    vram = tonumber(ARGV[at + 5]), ram = tonumber(ARGV[at + 6]), cpus = tonumber(ARGV[at + 7]),
    prio = tonumber(ARGV[at + 8]), max = tonumber(ARGV[at + 9]), attempt = 0, free = 0, created = pool.now, out = 0,
    title = ARGV[at + 10], backoff = tonumber(ARGV[at + 12]), owner = ARGV[1],
    exclusive = options and options.exclusive, is_new = true, not_after = options and options.within and pool.now + options.within,
    within = options and options.within, keeps = options and options.keeps, session = options and options.session,
    avoid = options and options.avoid,
  }, options
end

local ids = {}
for at = 7, #ARGV, FIELDS do
  ids[#ids + 1] = ARGV[at]
end
job:read_ahead(ids)

-- The jobs of this call, and by the id that the caller made for each, the job that stands for it.
local jobs, meant = {}, {}
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
  meant[j.id] = there or j
  jobs[#jobs + 1] = { at = at, j = there or j, options = options, is_there = there ~= nil }
end

local function are_all_there()
  for _, new in ipairs(jobs) do
    if not new.is_there then
      return false
    end
  end
  return true
end

local room = tonumber(ARGV[2])
if room > 0 and redis.call('ZCARD', key('jobs')) - redis.call('ZCARD', key('ended')) + room > tonumber(ARGV[3])
  and not are_all_there() then
  return { 'full' }
end

-- Bytes of prompts that are to be held beside those that are.
local asked = 0
for _, new in ipairs(jobs) do
  asked = asked + (new.is_there and 0 or #ARGV[new.at + 14])
end
if asked > 0 and retention.is_full_of_prompts(asked, ARGV[1]) then
  return due.write({ 'full_of_prompts' })
end

-- Whether new jobs need the same, so that what is found for one is found for the other.
local function need_the_same(j, other)
  return j.class == other.class and j.vram == other.vram and j.ram == other.ram and j.cpus == other.cpus
    and j.prio == other.prio and j.max == other.max and j.avoid == other.avoid and j.session == other.session
end

-- The agent for a job, with its devices; nil if there is none. What was `found` last, {agent, devices, job =}, is good for
-- jobs of the same needs until something becomes of an agent.
local found
local function find(j)
  if not (found and need_the_same(j, found.job)) then
    found = { place.find(j) }
    found.job = j
  end
  return found[1], found[2]
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
  for _, new in ipairs(jobs) do
    if not new.is_there and not is_known_to_be_served(new.j) then
      return due.write({ 'survey' })
    end
  end
end

if #ARGV > 6 + MANY * FIELDS then
  pool.spare()
end

local used = {}
local function use_class(j, spec)
  if not used[j.class] then
    used[j.class] = true
    if class.use(j.class, spec) then
      members.settle(j.class)
      found = nil
    end
  end
end

local explanation = {}
local function accept(new, is_last)
  local j, at = new.j, new.at
  if is_last and ARGV[5] == '1' then
    explanation = explain.survey(j, ARGV[at + 1])
  end
  job:adopt(j)
  local spec = ARGV[at + 11]
  if new.options and new.options.depends_on then
    spec = dependencies.spell(spec, new.options, meant)
  end
  record.keep(key('spec', j.id), spec)
  if ARGV[at + 14] ~= '' then
    record.keep(key('prompt', j.id), ARGV[at + 14])
    retention.count_prompt(j, #ARGV[at + 14])
  end
  sets.enter('jobs', j.id, 0)
  use_class(j, ARGV[at + 1])
  local options = new.options
  if options then
    idempotency.note(j, options)
    dependencies.note(j, options)
    if options.depends_on or options.not_before then
      dependencies.start(j, options, meant)
      found = nil
      return
    end
  end
  local a, devices = find(j)
  if a then
    binding.bind(j, a, devices)
    found = nil
  else
    queue.pend(j)
  end
end

local replies = {}
for index, new in ipairs(jobs) do
  if not new.is_there then
    accept(new, index == #jobs)
  end
  local j = new.j
  replies[index] = { j.id, j.state, j.agent or '', string.format('%.6f', j.score or 0) }
end
return due.finish({ 'submitted', replies, explanation })
