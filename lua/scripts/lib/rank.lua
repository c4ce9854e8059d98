-- rank: where an agent stands among those that can take a class's jobs now.
--
-- rank:<class>:<step> holds agents by value = floor(score * 8191) * 2^40 - use sequence: the best score first, ties to
-- the agent used least recently. The step is the half-power of two of what the agent has left of the memory that the
-- class needs, so that every agent of a higher step than a job's own need is known to have room. Half-open agents that wait
-- for a trial stand in a step of their own, in the order of their last use.
--
-- For a model, the weighted parts make up nine tenths of the score; that it is loaded is the last tenth.
local rank = { STEPS = 17, TRIAL = 18, WARM = 0.1 }

local SCORE_STEPS = 8191
local SMALLEST_MB = 512
local USE_SPAN = 1099511627776

-- Agents whose place has to be found anew.
-- What is known of their values, by agent; false if nothing is.
local changed, noted = {}, {}
-- The bitmaps of ranks that may hold agents, by class, as far as this run has read them.
local steps = {}
-- The weights as this run has read them, and the strategy.
local weight_vram, weight_load, weight_rtt, weight_perf, weight_cost, strategy

calls.begin_with(function()
  changed, noted, steps = changed[1] and {} or changed, next(noted) and {} or noted, next(steps) and {} or steps
  weight_vram, weight_load, weight_rtt, weight_perf, weight_cost, strategy = nil, nil, nil, nil, nil, nil
end)

function rank.step(mb)
  if mb < SMALLEST_MB then
    return 0
  end
  return math.min(rank.STEPS, math.floor(2 * math.log(mb / SMALLEST_MB) / math.log(2)))
end

-- The n-th largest `left` among the devices that a job of this class could have; nil if there are fewer.
local function nth_left(devices, n, exclusive)
  local open, best = {}, nil
  for _, device in ipairs(devices) do
    if room.is_open(device, exclusive) then
      open[#open + 1] = device.left
      best = math.max(best or 0, device.left)
    end
  end
  if n == 1 then
    return best
  end
  table.sort(open, function(x, y) return x > y end)
  return open[n]
end

-- Megabytes that a job of this class could have of what is left at most, on each device or of main memory.
-- A model that is loaded needs none.
local function memory_left(left, class)
  if class.gpus > 0 then
    return nth_left(left.devices, class.gpus, class.exclusive)
  end
  return left.ram
end

local function memory_part(a, class)
  if class.gpus == 0 and (class.kind == 'process' or #agent.caps(a).gpus == 0) then
    local total = agent.caps(a).ram
    return total > 0 and room.left(a).ram / total or 0
  end
  local best, part = -1, 0
  for _, device in ipairs(room.left(a).devices) do
    if device.left > best then
      best = device.left
      part = device.total > 0 and device.left / device.total or 0
    end
  end
  return part
end

-- How fast the agent was with a model; halfway before there is any history.
local function performance_part(a, model, served)
  local history = served and agent.served(a)[served.of or model]
  local speed = history and history.speed
  return speed and speed / (speed + 100) or 0.5
end

function rank.rtt_part(a)
  return a.rtt and 1 / (1 + a.rtt / 50) or 0.5
end

function rank.load_part(a, class)
  local slots, taken = room.slots(a, class.kind, class.model, room.left(a))
  return slots > taken and 1 - taken / slots or 0
end

-- The other parts of the score, each in [0, 1], which stay what they are as long as what the agent has left does: {vram, perf,
-- cost, and, for a model, warm: 1 if it is loaded}.
function rank.parts(a, class)
  local left, of = room.left(a), class.alike or class
  local parts = left.parts
  if not parts or parts.of ~= of then
    local served = class.kind ~= 'process' and agent.model(a, class.model)
    parts = { of = of, vram = memory_part(a, class), perf = performance_part(a, class.model, served),
      cost = 1 / (1 + (agent.caps(a).price or 0)), warm = served and served.loaded and 1 or 0 }
    left.parts = parts
  end
  return parts
end

-- The score of an agent for a kind of work, by its parts. With `round_robin` all score the same, so that only the use sequence
-- decides.
function rank.weigh(a, kind, parts, load)
  if not weight_vram then
    weight_vram, weight_load, weight_rtt, weight_perf, weight_cost, strategy = pool.weights()
  end
  local score = 1
  if strategy ~= 'round_robin' then
    score = parts.vram * weight_vram + load * weight_load + rank.rtt_part(a) * weight_rtt + parts.perf * weight_perf
      + parts.cost * (weight_cost or 0)
    if kind ~= 'process' then
      score = score * (1 - rank.WARM) + parts.warm * rank.WARM
    end
  end
  return a.state == 'degraded' and score * 0.5 or score
end

function rank.score(a, class)
  return rank.weigh(a, class.kind, rank.parts(a, class), rank.load_part(a, class))
end

-- The score in the steps in which scores are compared.
function rank.coarse(score)
  return math.floor(score * SCORE_STEPS)
end

-- Runs a command on a sorted set of the class's agents. If that had been made something else, the class is made again from
-- what its agents say themselves.
function rank.ask(cid, command, name, ...)
  local told, is_gone = record.ask(command, name, ...)
  if is_gone and record.ask('HEXISTS', key('class', cid), 'spec') == 1 then
    redis.call('HSET', key('class', cid), 'cursor', '')
    redis.call('ZADD', key('due'), int(pool.now), 'class:' .. cid)
  end
  return told
end

-- The bitmap of a class's ranks that may hold agents.
function rank.steps(cid)
  steps[cid] = steps[cid] or tonumber(record.ask('HGET', key('class', cid), 'steps') or '0')
  return steps[cid]
end

function rank.put_steps(cid, bits)
  steps[cid] = bits
  record.ask('HSET', key('class', cid), 'steps', int(bits))
end

-- Forgets the ranks of a class that has no members any more.
function rank.forget(cid)
  steps[cid] = nil
  for step = 0, rank.TRIAL do
    redis.call('DEL', key('rank:' .. cid, step))
  end
end

-- The value of an agent with this score.
function rank.value(a, score)
  return rank.coarse(score) * USE_SPAN - (a.used_seq or 0)
end

-- Enters the agent into one rank of a class, and marks that step of the class as perhaps not empty.
function rank.enter(a, cid, step, value)
  local bits = rank.steps(cid)
  if bit.band(bits, bit.lshift(1, step)) == 0 then
    rank.put_steps(cid, bit.bor(bits, bit.lshift(1, step)))
  end
  rank.ask(cid, 'ZADD', key('rank:' .. cid, step), int(value), a.id)
end

function rank.leave(a, cid, step)
  rank.ask(cid, 'ZREM', key('rank:' .. cid, step), a.id)
end

-- The step and the value that the agent should have in classes like this, by what is left beside what it keeps; -1 if it
-- can't take their jobs now. On trial it keeps nothing for anybody and takes what it is offered.
local function target(a, place)
  if not agent.takes_work(a) or not agent.asks_for(a, place.kind) or (a.held and a.state == 'half_open') then
    return -1, 0
  end
  local left = room.beside(a)
  local slots, taken = room.slots(a, place.kind, place.model, left)
  local memory = taken < slots and memory_left(left, place)
  if not memory or (place.kind ~= 'process' and not room.devices_for(a, place.model, left)) then
    return -1, 0
  end
  if a.state == 'half_open' then
    if agent.trouble(a).trial then
      return -1, 0
    end
    return rank.TRIAL, -(a.used_seq or 0)
  end
  return rank.step(memory), rank.value(a, rank.score(a, place))
end

local function move(a, classes, old, step, value)
  for _, cid in ipairs(classes) do
    if old == step then
      rank.ask(cid, 'ZADD', key('rank:' .. cid, step), int(value), a.id)
    else
      if old >= 0 then
        rank.leave(a, cid, old)
      end
      if step >= 0 then
        rank.enter(a, cid, step, value)
      end
    end
  end
end

-- Whether jobs of this class need what those of this place do.
local function is_of(class, place)
  return class.kind == place.kind and class.model == place.model and class.gpus == place.gpus
    and (class.exclusive or false) == (place.exclusive or false)
end

-- Puts an agent where it belongs now, in every class that it is a member of; writes only what moved. `known` is its `value` for
-- jobs of a `class`, with as much memory left as before, where that is known.
local function place_anew(a, known)
  local standing, moved = agent.standing(a), false
  for i, place in ipairs(agent.places(a)) do
    local old = standing[2 * i - 1]
    local step, value = old, known and known.value
    if not known or old < 0 or not is_of(known.class, place) then
      step, value = target(a, place)
    end
    if step ~= old or value ~= standing[2 * i] then
      move(a, place.classes, old, step, value)
      standing[2 * i - 1], standing[2 * i], moved = step, value, true
    end
  end
  if moved then
    agent.put_standing(a)
  end
end

-- Puts the agents that have changed where they belong now: each, even if another fails. Whoever reads ranks has that done
-- first.
function rank.settle()
  while changed[1] do
    behind.put(rank.settle)
    local a = table.remove(changed)
    local known = noted[a]
    noted[a] = nil
    place_anew(a, known)
  end
end

-- Has the agent put where it belongs, in every class that it is a member of: once, however often it changes before that is
-- looked at. The caller may say what its value is for jobs of a class, if it can take another of them and has as much memory left
-- as before.
function rank.update(a, class, value)
  if noted[a] == nil then
    changed[#changed + 1], noted[a] = a, value and { class = class, value = value } or false
    behind.put(rank.settle)
  else
    noted[a] = false
  end
end

-- Takes the agent out of every rank until it next calls.
function rank.withdraw(a)
  agent:put(a, 'reach_ms', 0)
  rank.update(a)
end

return rank
