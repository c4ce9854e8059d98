-- dependencies: jobs that wait for others to end.
--
-- dependents:<job>  zset  jobs that wait for it, in the order of their submission. When it ends they are worked off through `due`, as
--                         after:<job>, in slices, however many there are.
local dependencies = {}

local SLICE = 8

-- Whether this run has told a slice of dependents.
local is_sliced

calls.begin_with(function()
  is_sliced = false
end)

-- A dependency that is no job: neither there nor among those before it in the same call.
function dependencies.missing(options, meant)
  for _, id in ipairs(options.depends_on or {}) do
    if not meant[id] and not job:load(id) then
      return id
    end
  end
  return nil
end

local function fail(j, dependency)
  job:put(j, 'needs', nil)
  job:put(j, 'reason', 'dependency_failed')
  job:put(j, 'message', 'job ' .. dependency.id .. ' is ' .. dependency.state)
  ending.finish(j, 'cancelled')
end

-- Whether a dependency lets a job go on: true, false if it never will, nil while it has not ended.
local function allows(dependency, j)
  if dependency.state == 'completed' then
    return true
  elseif dependency.state == 'failed' or dependency.state == 'cancelled' then
    return j.on_failure == 'run'
  end
  return nil
end

-- What was submitted, with the ids that those it depends on have, where this call only repeats their submission.
function dependencies.spell(spec, options, meant)
  for _, id in ipairs(options.depends_on or {}) do
    local dependency = meant[id]
    if dependency and dependency.id ~= id then
      local quoted = string.gsub('"' .. id .. '"', '%p', '%%%0')
      spec = string.gsub(spec, quoted, '"' .. dependency.id .. '"')
    end
  end
  return spec
end

-- Starts a job that has conditions: it waits for what it depends on, and for its time. `find` gives what has an id; nil if
-- that is kept no more, and so has let the job go on.
local function start(j, ids, find)
  local waits_for, seen = 0, {}
  for _, id in ipairs(ids) do
    local dependency = find(id)
    local allowed = not dependency or allows(dependency, j)
    if allowed == false then
      return fail(j, dependency)
    elseif allowed == nil and not seen[dependency.id] then
      seen[dependency.id] = true
      waits_for = waits_for + 1
      redis.call('ZADD', key('dependents', dependency.id), int(pool.next_seq()), j.id)
      job:put(dependency, 'dependents', '1')
    elseif dependency and dependency.dependents and not j.is_new then
      -- It waited for this one before, and is not to be told of its end any more.
      redis.call('ZREM', key('dependents', dependency.id), j.id)
    end
  end
  if waits_for == 0 then
    return queue.start(j)
  end
  job:put(j, 'needs', waits_for)
  job.move(j, 'blocked')
end

-- Starts a new job.
function dependencies.start(j, options, meant)
  start(j, options.depends_on or {}, function(id)
    return meant[id] or job:load(id)
  end)
end

-- What a job was submitted to depend on.
function dependencies.of(j)
  local spec = cjson.decode(redis.call('GET', key('spec', j.id)))
  return type(spec.depends_on) == 'table' and spec.depends_on or {}
end

-- Whether the job was cancelled because of one that is kept no more: nothing can let it go on.
function dependencies.is_hopeless(j)
  local cause = j.reason == 'dependency_failed' and string.match(j.message or '', '^job (%S+) is ')
  return cause and not job:load(cause)
end

-- Starts a job anew: it waits for these as they stand now.
function dependencies.restart(j, ids)
  sets.leave('due', 'job:' .. j.id)
  start(j, ids, function(id)
    return job:load(id)
  end)
end

local function tell(j, dependency)
  if j.state ~= 'blocked' then
    return
  elseif not allows(dependency, j) then
    return fail(j, dependency)
  end
  job:put(j, 'needs', j.needs > 1 and j.needs - 1 or nil)
  if not j.needs then
    queue.start(j)
  end
end

-- Tells one of several, and writes all of it. What can't go on must not keep the others from it: it is set aside, with the
-- reason.
local function tell_one_of(j, dependency)
  local is_told, problem = pcall(tell, j, dependency)
  local trouble = behind.try_to_write()
  if not is_told or trouble then
    record.doubt()
    redis.call('HSET', key('broken'), 'job:' .. j.id, tostring(is_told and trouble or problem))
  end
end

-- Tells the next slice of dependents that a job has ended: one slice a script.
function dependencies.settle(id)
  if is_sliced then
    return
  end
  is_sliced = true
  pool.spare()
  local dependency = job:load(id)
  if dependency and allows(dependency, {}) == nil then
    redis.call('ZREM', key('due'), 'after:' .. id)
    return
  end
  local popped = redis.call('ZPOPMIN', key('dependents', id), SLICE)
  for i = 1, #popped, 2 do
    local j = dependency and job:load(popped[i])
    if j then
      tell_one_of(j, dependency)
    end
  end
  pool.spent = pool.spent + #popped / 2
  if #popped < 2 * SLICE then
    redis.call('ZREM', key('due'), 'after:' .. id)
    if dependency then
      job:put(dependency, 'dependents', nil)
    end
  end
end

return dependencies
