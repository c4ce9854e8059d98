-- sets: the sets in which many jobs of one script come and go. What they enter and leave is put off (see lib/behind), so that
-- one command for each set does what one for each job would, however often a job has moved.
--
-- Whoever reads one of these sets in a script that writes has what was put off of it written first.
local sets = {}

local PLAIN = { blocked = true, delayed = true, scheduled = true, running = true }
local AT_ONCE = 512

-- What each set is to have, by its name: {member = its score, true in a plain set, or false if it is to leave}. What has left a
-- plain set and is to be in it after all is 1.
local kept = {}

calls.begin_with(function()
  kept = next(kept) and {} or kept
end)

-- Keeps one change of a set; a later one of the same member takes its place.
local function keep(name, member, value)
  local changes = kept[name]
  if not changes then
    changes = {}
    kept[name] = changes
    behind.put(sets.write_all)
  end
  changes[member] = value
end

-- Enters a member, with its score unless the set is a plain one, or changes its score. Nothing enters a plain set that is in it.
function sets.enter(name, member, score)
  local changes = kept[name]
  keep(name, member, score or (changes and changes[member] ~= nil and 1) or true)
end

-- What this script itself has had enter a plain set just goes again.
function sets.leave(name, member)
  local changes = kept[name]
  if changes and changes[member] == true then
    changes[member] = nil
  else
    keep(name, member, false)
  end
end

-- The one member that a set's changes have, with its value; nil if there are more.
local function alone(changes)
  local member, value = next(changes)
  if member and next(changes, member) == nil then
    return member, value
  end
  return nil
end

-- Writes one change.
local function write_one(name, is_plain, member, value)
  if not value then
    redis.call(is_plain and 'SREM' or 'ZREM', key(name), member)
  elseif is_plain then
    redis.call('SADD', key(name), member)
  else
    redis.call('ZADD', key(name), int(value), member)
  end
end

-- Runs a command on a set with as many arguments as Lua can pass at once.
local function run(command, name, arguments)
  for from = 1, #arguments, AT_ONCE do
    redis.call(command, name, unpack(arguments, from, math.min(from + AT_ONCE - 1, #arguments)))
  end
end

-- Writes what is kept of one set.
function sets.write(name)
  local changes = kept[name]
  if not changes then
    return
  end
  kept[name] = nil
  local is_plain, only, its_value = PLAIN[name], alone(changes)
  if only then
    return write_one(name, is_plain, only, its_value)
  end
  local entering, leaving = {}, {}
  for member, value in pairs(changes) do
    if not value then
      leaving[#leaving + 1] = member
    elseif is_plain then
      entering[#entering + 1] = member
    else
      entering[#entering + 1], entering[#entering + 2] = int(value), member
    end
  end
  run(is_plain and 'SREM' or 'ZREM', key(name), leaving)
  run(is_plain and 'SADD' or 'ZADD', key(name), entering)
end

-- Writes what is kept of all: one set, and then, even if that fails, the others.
function sets.write_all()
  local name = next(kept)
  if name then
    behind.put(sets.write_all)
    sets.write(name)
  end
end

return sets
