-- agent: one agent's record, what it has, and its live attempts: those that are bound, running or ending.
--
-- Parts of the record are packed once more, since most scripts need few of them: `caps` is what it registered with,
-- `labels` the labels of that, `measured` its last measurement, `places` and `standing` say where it stands in the ranks, `trouble` is
-- what the breaker keeps, `kept` what it keeps for the job that holds it. `edge` counts the breaker's moves, `asks` is the kind of work that its last claim
-- asked for, `brought` whether that brought anything (nil if that was not noted yet), `served_packed` how its models have served, `tally_packed` how much it holds, `loss_ms` when it was
-- told that Redis has lost what it was running.
local REMEMBERED = 128
local SHARED, SHARED_BYTES = 256, 4096

local agent = record.kind('agent', REMEMBERED)

-- What agents have in common that are alike, by the bytes that it is packed in, for the scripts that follow as well.
local shared = { count = 0 }

calls.begin_with(function()
  shared = shared.count < SHARED and shared or { count = 0 }
end)

-- What these bytes say, for all who have the same: nobody may change it. Devices have names of their own, so nobody has the same.
local function share(bytes)
  local known = shared[bytes]
  if not known then
    known = cmsgpack.unpack(bytes)
    if #bytes <= SHARED_BYTES and not (known.gpus and known.gpus[1]) then
      shared[bytes], shared.count = known, shared.count + 1
    end
  end
  return known
end

function agent.unpack(id, packed)
  local state, epoch, instance, seq, claim, next_ms, seen_ms, registered_ms, reach_ms, used_seq, draining, leaving, rtt,
    read_ms, on_time, offline_ms, caps_packed, labels_packed, measured_packed, places_packed, standing_packed,
    past, held, edge, trouble_packed, asks, served_packed, tally_packed,
    kept_packed, brought, loss_ms = cmsgpack.unpack(packed)
  -- What its parts are unpacked to needs room, too (see lib/job).
  return {
    changed = false, caps = nil,
    id = id, state = state, epoch = epoch, instance = instance, seq = seq, claim = claim, next_ms = next_ms,
    seen_ms = seen_ms, registered_ms = registered_ms, reach_ms = reach_ms, used_seq = used_seq, draining = draining,
    leaving = leaving, rtt = rtt, read_ms = read_ms, on_time = on_time, offline_ms = offline_ms,
    caps_packed = caps_packed, labels_packed = labels_packed, measured_packed = measured_packed,
    places_packed = places_packed, standing_packed = standing_packed, past = past, held = held, edge = edge,
    trouble_packed = trouble_packed, asks = asks, served_packed = served_packed, tally_packed = tally_packed,
    kept_packed = kept_packed, brought = brought, loss_ms = loss_ms,
  }
end

function agent.is_whole(a)
  return type(a.state) == 'string' and type(a.epoch) == 'number' and type(a.reach_ms) == 'number'
    and type(a.caps_packed) == 'string'
end

-- What a script has made of a record. What it was told of the agent or has put together may be more than the bytes say.
function agent.strip(a)
  -- To clear what a table does not have makes it grow.
  if a.entries or a.left then
    a.entries, a.all_read, a.left = nil, nil, nil
  end
  if a.trouble or a.served then
    a.trouble, a.served = nil, nil
  end
  if a.caps_of ~= a.caps_packed then
    a.caps = nil
  end
  if a.places_of ~= a.places_packed then
    a.places = nil
  end
  if not a.tally_packed then
    a.tally = nil
  end
  return true
end

function agent.pack(a)
  local t = a.tally
  if t then
    a.tally_packed = cmsgpack.pack(t.processes, t.cpus, t.models, t.heavy, t.bound, t.ending)
  end
  return cmsgpack.pack(
    a.state, a.epoch, a.instance, a.seq, a.claim, a.next_ms, a.seen_ms, a.registered_ms, a.reach_ms, a.used_seq,
    a.draining, a.leaving, a.rtt, a.read_ms, a.on_time, a.offline_ms, a.caps_packed, a.labels_packed,
    a.measured_packed, a.places_packed, a.standing_packed, a.past, a.held, a.edge, a.trouble_packed, a.asks,
    a.served_packed, a.tally_packed, a.kept_packed, a.brought, a.loss_ms
  )
end

-- {max_jobs, ram, cpus (milli), processes, endpoint, ephemeral, gpus = {{uuid, total}…}, models = {name = {vram, parallel, loaded,
-- of}}}. A model that is there under an alias, too, stands under both names; `of` then is its own.
function agent.caps(a)
  if not a.caps then
    a.caps, a.caps_of = share(a.caps_packed), a.caps_packed
  end
  return a.caps
end

-- What it has measured last, {gpus = {uuid = {free, used}}, seen = {job = true}, at, ram, hindered = {{kind, why}…} or nil};
-- nil if nothing.
function agent.measured(a)
  local packed = a.measured_packed
  if packed and a.measured_of ~= packed then
    a.measured, a.measured_of = cmsgpack.unpack(packed), packed
  end
  return packed and a.measured
end

-- What keeps it from asking for this kind of work, in its own words.
function agent.hindered_by(a, kind)
  local measured, words = agent.measured(a), {}
  for _, hindrance in ipairs(measured and measured.hindered or {}) do
    if hindrance[1] == kind then
      words[#words + 1] = hindrance[2]
    end
  end
  return words
end

-- The classes that it is a member of, those with the same score together:
-- {{kind, model, gpus, exclusive, classes = {id…}}…}.
function agent.places(a)
  if not a.places then
    a.places, a.places_of = a.places_packed and share(a.places_packed) or {}, a.places_packed
  end
  return a.places
end

-- The same for whoever changes them, and puts them.
function agent.own_places(a)
  if a.places_of or not a.places then
    a.places, a.places_of = a.places_packed and cmsgpack.unpack(a.places_packed) or {}, nil
  end
  return a.places
end

-- Where it stands in the ranks of these classes: step and value by turns, in the order of `places`; the step is -1 while
-- it stands in none.
function agent.standing(a)
  if not a.standing then
    a.standing = a.standing_packed and { cmsgpack.unpack(a.standing_packed) } or {}
  end
  return a.standing
end

function agent.put_places(a)
  agent:put(a, 'places_packed', cmsgpack.pack(a.places))
end

function agent.put_standing(a)
  agent:put(a, 'standing_packed', #a.standing > 0 and cmsgpack.pack(unpack(a.standing)) or nil)
end

-- What Redis answers to a command about the live attempts; nil if their key is of another type: then there are none, and it
-- goes with the next write. Any other trouble ends the script.
local function ask(a, command, ...)
  local told = redis.pcall(command, key('live', a.id), ...)
  if type(told) ~= 'table' or not told.err then
    return told
  elseif not string.find(told.err, 'WRONGTYPE', 1, true) then
    return redis.call(command, key('live', a.id), ...)
  end
  a.is_live_broken, a.changed = true, true
  return nil
end

local function set_aside(a)
  a.is_live_broken = nil
  redis.call('DEL', key('live', a.id))
  redis.call('HSET', key('broken'), 'live:' .. a.id, 'its live attempts can not be read')
end

local function write(a, command, arguments)
  if arguments[1] and not ask(a, command, unpack(arguments)) then
    set_aside(a)
    redis.call(command, key('live', a.id), unpack(arguments))
  end
end

-- Writes, with the record, which attempts were added, changed and ended.
function agent.write_beside(a)
  if a.is_live_broken then
    set_aside(a)
  end
  local moved, entries, held, ended = a.moved or {}, a.entries, {}, {}
  for i = 1, #moved do
    local job_id = moved[i]
    local entry = entries[job_id]
    if entry then
      held[#held + 1], held[#held + 2] = job_id, terms.packed(entry)
    else
      ended[#ended + 1] = job_id
    end
  end
  a.moved = nil
  write(a, 'HDEL', ended)
  write(a, 'HSET', held)
end

-- All live attempts by job: state (bound, running or ending), number, lease, model ("" for a process), VRAM on each of
-- its devices, RAM, milli-CPUs, since when, the number of the claim that brought it, true if it has its
-- devices to itself, the agent's edge when it began, and true if it is a ticket's. An agent may have hundreds: what one of
-- them or the tally tells is asked there.
function agent.live(a)
  local entries = a.entries or {}
  if not a.all_read then
    a.entries, a.all_read = entries, true
    local flat, job_ids, packed = ask(a, 'HGETALL') or {}, {}, {}
    for i = 1, #flat, 2 do
      if entries[flat[i]] == nil then
        job_ids[#job_ids + 1], packed[#packed + 1] = flat[i], flat[i + 1]
      end
    end
    for i, entry in ipairs(terms.read(packed)) do
      entries[job_ids[i]] = entry
    end
    for job_id, entry in pairs(entries) do
      entries[job_id] = entry or nil
    end
  end
  return entries
end

-- The jobs of all live attempts, the oldest first: the order in which they go elsewhere.
function agent.live_jobs(a)
  local ids = {}
  for job_id in pairs(agent.live(a)) do
    ids[#ids + 1] = job_id
  end
  table.sort(ids)
  return ids
end

-- Reads the live attempts of those jobs with one command, for a script that is about to ask for them all.
function agent.read_entries_ahead(a, job_ids)
  if a.all_read or #job_ids == 0 then
    return
  end
  local entries, found = a.entries or {}, terms.read(ask(a, 'HMGET', unpack(job_ids)) or {})
  for i = 1, #job_ids do
    if entries[job_ids[i]] == nil then
      entries[job_ids[i]] = found[i] or false
    end
  end
  a.entries = entries
end

-- One live attempt; nil if there is none of that job.
function agent.entry(a, job_id)
  local entry = a.entries and a.entries[job_id]
  if entry == nil then
    agent.read_entries_ahead(a, { job_id })
    entry = a.entries[job_id]
  end
  return entry or nil
end

-- Counts one attempt more (by = 1) or less (-1), or one that changed (0). To take out of a table what is not there would make it
-- grow.
local function count(tally, job_id, entry, by)
  if entry.model == '' then
    tally.processes = tally.processes + by
  else
    local requests = (tally.models[entry.model] or 0) + by
    tally.models[entry.model] = requests ~= 0 and requests or nil
  end
  tally.cpus = tally.cpus + by * entry.cpus
  local heavy, bound, ending, state = tally.heavy, tally.bound, tally.ending, by >= 0 and entry.state
  if entry.is_heavy or heavy[job_id] then
    heavy[job_id] = state and entry.is_heavy or nil
  end
  if state == 'bound' or bound[job_id] then
    bound[job_id] = state == 'bound' and not entry.ticket or nil
  end
  if state == 'ending' or ending[job_id] then
    ending[job_id] = state == 'ending' or nil
  end
end

-- How much it holds, kept with its record so that no script has to read all attempts for that: {processes, cpus (milli),
-- models = {name = requests}, and of the jobs, as {job = true}, those that are bound and no tickets, those that are ending,
-- and the heavy ones, which have memory reserved}.
function agent.tally(a)
  if not a.tally then
    if not a.tally_packed then
      return agent.count_anew(a)
    end
    local processes, cpus, models, heavy, bound, ending = cmsgpack.unpack(a.tally_packed)
    a.tally = { processes = processes, cpus = cpus, models = models, heavy = heavy, bound = bound, ending = ending }
  end
  return a.tally
end

-- Counts what it holds from the attempts themselves. Every heartbeat does, so that no error in the tally would last.
function agent.count_anew(a)
  a.left = nil
  a.tally = { processes = 0, cpus = 0, models = {}, heavy = {}, bound = {}, ending = {} }
  for job_id, entry in pairs(agent.live(a)) do
    count(a.tally, job_id, entry, 1)
  end
  return a.tally
end

-- The attempts that have memory reserved, by job.
function agent.heavy(a)
  local heavy = {}
  for job_id in pairs(agent.tally(a).heavy) do
    heavy[job_id] = agent.entry(a, job_id)
  end
  return heavy
end

-- How many attempts it holds.
function agent.attempts(a)
  local sum = agent.tally(a).processes
  for _, requests in pairs(a.tally.models) do
    sum = sum + requests
  end
  return sum
end

-- Keeps that an attempt is there or is not, to be written with the record.
local function move(a, job_id, entry)
  local moved, entries = a.moved or {}, a.entries or {}
  a.moved, a.entries, a.changed = moved, entries, true
  moved[#moved + 1] = job_id
  if entry or not a.all_read then
    entries[job_id] = entry
  else
    entries[job_id] = nil
  end
end

-- Adds a live attempt; of a job that is new there is none.
function agent.hold(a, job_id, entry, is_new_job)
  local tally, known = a.tally or agent.tally(a), not is_new_job and agent.entry(a, job_id)
  move(a, job_id, entry)
  if known then
    agent.count_anew(a)
    return
  end
  count(tally, job_id, entry, 1)
  if a.left and not tally.heavy[job_id] then
    a.left.cpus = math.max(0, a.left.cpus - entry.cpus)
  else
    a.left = nil
  end
end

-- Puts another in the place of a live attempt, of the same model and CPUs.
function agent.change(a, job_id, entry)
  move(a, job_id, entry)
  count(a.tally or agent.tally(a), job_id, entry, 0)
  a.left = nil
end

-- The job of a live attempt has ended, whose processes have not.
function agent.ends(a, job_id, entry)
  agent.change(a, job_id, terms.attempt('ending', entry.number, entry.lease, entry.terms))
end

-- What the breaker keeps of it: failures in a row, successes or trials that went well in a row, why it is not healthy, its
-- last cool-down and until when that lasts, the job that is its trial, since when it waits for one, and whether it is
-- in service only because too many others are not.
function agent.trouble(a)
  if not a.trouble then
    local fails, wins, cause, cool_ms, until_ms, trial, trial_ms, guarded
    if a.trouble_packed then
      fails, wins, cause, cool_ms, until_ms, trial, trial_ms, guarded = cmsgpack.unpack(a.trouble_packed)
    end
    a.trouble = { fails = fails or 0, wins = wins or 0, cause = cause, cool_ms = cool_ms, until_ms = until_ms,
      trial = trial, trial_ms = trial_ms, guarded = guarded }
  end
  return a.trouble
end

function agent.put_trouble(a)
  local t = a.trouble
  local is_well = a.state == 'healthy' and t.fails == 0
  agent:put(a, 'trouble_packed', not is_well and cmsgpack.pack(t.fails, t.wins, t.cause, t.cool_ms, t.until_ms, t.trial,
    t.trial_ms, t.guarded) or nil)
end

-- Whether a job is the trial that a half-open agent is on.
function agent.is_trial(a, job_id)
  return a.state == 'half_open' and agent.trouble(a).trial == job_id
end

-- A half-open agent may be given one trial at a time: this one, or none any more.
function agent.put_trial(a, job_id)
  local t = agent.trouble(a)
  t.trial, t.trial_ms = job_id, pool.now
  agent.put_trouble(a)
end

-- Ends a live attempt: what it had reserved is free, and the permit if it was a trial.
function agent.release(a, job_id)
  if agent.is_trial(a, job_id) then
    agent.put_trial(a, nil)
  end
  local entry, tally = agent.entry(a, job_id), a.tally or agent.tally(a)
  if entry then
    count(tally, job_id, entry, -1)
  end
  move(a, job_id, false)
  a.left = nil
end

-- What it keeps for the job that holds it: the UUIDs of devices, since when it is held, and when they are chosen again.
function agent.kept(a)
  if a.kept_packed then
    return cmsgpack.unpack(a.kept_packed)
  end
  return {}, pool.now, pool.now
end

-- How its models have served, by their own names: {first_ms, tokens per second, failures in a row, last cool-down, until when
-- that lasts}; see lib/serving.
function agent.served(a)
  if not a.served then
    a.served = a.served_packed and cmsgpack.unpack(a.served_packed) or {}
  end
  return a.served
end

-- What it has of a model, by any name; nil if it does not serve it.
function agent.model(a, name)
  return agent.caps(a).models[name]
end

-- Its own name of a model.
function agent.own_name(a, name)
  local model = agent.model(a, name)
  return model and model.of or name
end

-- Whether its last claim asked for such work. One that names no kind asks for processes.
function agent.asks_for(a, kind)
  local asks = a.asks or 'process'
  return asks == 'both' or asks == kind
end

-- Whether it may be bound to new work now: in service, and waiting for it or due to call within a moment.
function agent.takes_work(a)
  return a.state ~= 'offline' and not a.draining and not a.leaving and a.reach_ms >= pool.now
end

return agent
