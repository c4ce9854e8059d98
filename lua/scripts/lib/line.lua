-- line: the jobs of each class that wait for an agent, the best first.
--
-- pending:<class>  zset  jobs by their order, see lib/job
-- waiting          zset  classes that have any, by the order of their best job
--
-- Jobs join a line and leave it in memory. What has joined or left is written with one command, when Redis is asked what
-- depends on it or at the end (see lib/behind). A line has either of the two to write, never both: what came first is then
-- written first. Nobody else reads or writes these keys in a script that writes.
local line = {}

local HOLDS_AFTER_MS = 60000

-- What this run knows of lines, by class: `joined` (orders and ids by turns) or `left` (ids) are yet to be written, `front`
-- are from its place `at` on the first jobs, or all of them if it `is_whole`, and `best` is the order of the first, false if there
-- is none.
local lines = {}

calls.begin_with(function()
  lines = next(lines) and {} or lines
end)

local function of(cid)
  local known = lines[cid] or {}
  lines[cid] = known
  return known
end

-- Writes what was put off of one line. Returns the order of its first job; false if none waits.
local function write(cid, known)
  local joined, left = known.joined, known.left
  known.joined, known.left, known.best = nil, nil, nil
  if joined then
    redis.call('ZADD', key('pending', cid), unpack(joined))
    redis.call('ZADD', key('due'), 'NX', int(pool.now + HOLDS_AFTER_MS), 'hold:all')
  else
    redis.call('ZREM', key('pending', cid), unpack(left))
  end
  local best = redis.call('ZRANGE', key('pending', cid), '0', '0', 'WITHSCORES')[2]
  if best then
    redis.call('ZADD', key('waiting'), best, cid)
    fair.write(cid)
  else
    redis.call('ZREM', key('waiting'), cid)
    fair.forget(cid)
  end
  known.best = tonumber(best) or false
  return known.best
end

-- Writes what was put off of all lines: each, even if another fails.
local function write_all()
  for cid, known in pairs(lines) do
    if known.joined or known.left then
      behind.put(write_all)
      write(cid, known)
    end
  end
end

-- What this run knows of a line, all of which is written.
local function written(cid)
  local known = of(cid)
  if known.joined or known.left then
    write(cid, known)
  end
  return known
end

-- Where the line of a class begins that none waits in: with the first in any other line, of these orders.
local function begun(least, beyond)
  write_all()
  local found = redis.call('ZRANGEBYSCORE', key('waiting'), int(least), '(' .. int(beyond), 'WITHSCORES', 'LIMIT', '0', '1')
  return tonumber(found[2] or least)
end

-- Puts a job into its line, or to another place of it. One that has no order yet gets the next tag of its key.
function line.join(j)
  local known = of(j.class)
  if known.left then
    write(j.class, known)
  end
  job:put(j, 'order', j.order or fair.join(j, begun))
  local joined = known.joined or {}
  joined[#joined + 1], joined[#joined + 2] = int(j.order), j.id
  known.joined, known.front, known.best = joined, nil, nil
  behind.put(write_all)
end

-- Takes a job out of its line.
function line.leave(j)
  local known = of(j.class)
  if known.joined then
    write(j.class, known)
  end
  known.left = known.left or {}
  known.left[#known.left + 1] = j.id
  local front = known.front or {}
  for i = known.at or 1, #front do
    if front[i] == j.id then
      if i == known.at then
        known.at = i + 1
      else
        table.remove(front, i)
      end
      break
    end
  end
  known.best = nil
  behind.put(write_all)
end

-- The same for a job that is not to run, written at once. Returns whether others wait.
function line.drop(j)
  line.leave(j)
  return write(j.class, of(j.class)) ~= false
end

-- The first `count` jobs of a line, perhaps with others behind them, and at which place of the list they begin: the caller may not
-- keep it. They are fewer only if there are no more.
function line.first(cid, count)
  local known = of(cid)
  if not known.front or (#known.front - known.at + 1 < count and not known.is_whole) then
    written(cid)
    -- Twice as many, so that a line whose jobs leave one by one is read once for many of them.
    known.front, known.at = redis.call('ZRANGE', key('pending', cid), '0', int(2 * count - 1)), 1
    known.is_whole = #known.front < 2 * count
  end
  return known.front, known.at
end

-- Whether nobody waits in a line.
function line.is_empty(cid)
  local ids, at = line.first(cid, 1)
  return not ids[at]
end

-- Jobs of a line from an order on (as ZRANGEBYSCORE spells it).
function line.from(cid, order, count)
  written(cid)
  return redis.call('ZRANGEBYSCORE', key('pending', cid), order, '+inf', 'LIMIT', '0', int(count))
end

-- The same, each id with its order behind it.
function line.from_with_orders(cid, order, count)
  written(cid)
  return redis.call('ZRANGEBYSCORE', key('pending', cid), order, '+inf', 'WITHSCORES', 'LIMIT', '0', int(count))
end

-- The order of a job in a line that was just read.
function line.order(cid, id)
  return redis.call('ZSCORE', key('pending', cid), id)
end

-- The order of the first job; false if none waits.
function line.best(cid)
  local known = of(cid)
  if known.best == nil and known.left and known.front and known.front[known.at] then
    local j = job:load(known.front[known.at])
    known.best = j and j.order
  end
  if known.best == nil and (known.joined or known.left) then
    return write(cid, known)
  elseif known.best == nil then
    known.best = tonumber(redis.call('ZSCORE', key('waiting'), cid)) or false
  end
  return known.best
end

-- Whether any job waits.
function line.is_any()
  write_all()
  return redis.call('EXISTS', key('waiting')) == 1
end

-- The first classes, by their best jobs.
function line.classes(count)
  write_all()
  return redis.call('ZRANGE', key('waiting'), '0', int(count - 1))
end

return line
