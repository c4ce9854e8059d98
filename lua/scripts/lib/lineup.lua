-- lineup: who gets the next of several jobs of one class that a script binds. Each gets the agent that lib/place would find for
-- it; but the ranks are read once, an agent at a time, and each agent that got something is ranked anew once, at the end.
--
-- It is for jobs that are alike: new ones with the same needs, which no agent has refused and none is to be kept from. Half-open
-- agents are passed by: what may be tried again is theirs first, and lib/place sees to that.
local lineup = {}

local PASSED_OVER = 32
-- All agents may be late at once, and a script must not be long: after so many of them it looks no further.
local LATE = 128

-- The line of one class: the first agent of each rank that was not looked at; the seats of those that were looked at and may
-- have room, the best first; and how many had none.
local cid, heads, seats, passed_over
-- The seats of the agents that got something, by id; the kind and the model; and the agents that the ranks need not bring up, by
-- id.
local changed, kind, model, known
-- How many agents of any line were late, and so have left the ranks.
local late

calls.begin_with(function()
  cid, heads, seats, passed_over, changed, kind, model, known = nil, nil, nil, nil, nil, nil, nil, nil
  late = 0
end)

-- Ranks the agents anew that got something. Whoever asks next looks at the ranks from the beginning. Processes of other classes
-- may have another value.
function lineup.close()
  for _, seat in pairs(cid and changed or {}) do
    rank.update(seat.agent, model, kind ~= 'process' and not seat.is_heavier and seat.value)
  end
  cid = nil
end

local function open(j)
  lineup.close()
  rank.settle()
  cid, kind, model, seats, passed_over, changed, known = j.class, j.kind, j.model, {}, 0, {}, {}
  heads = place.heads_of(j.class, j, rank.steps(j.class), true)
end

-- Works out whether an agent has room for a job, and all that makes its score.
local function look_around(seat, j)
  local a = seat.agent
  local left = room.beside(a)
  local vram, _, rtt, perf, cost, warm = rank.parts(a, j)
  seat.slots, seat.taken = room.slots(a, j.kind, j.model, left)
  -- A slot that is kept for another job is no load yet.
  seat.kept = kind == 'process' and left.kept or 0
  seat.devices, seat.vram, seat.rtt, seat.perf, seat.cost, seat.warm = fit.now(a, j, left), vram, rtt, perf, cost, warm
end

local function score_of(seat)
  local load = (seat.taken - seat.kept) / seat.slots
  return rank.weigh(seat.agent, kind, seat.vram, 1 - load, seat.rtt, seat.perf, seat.cost, seat.warm)
end

-- Gives an agent the seat that it should have.
local function sit_down(seat)
  local at = #seats
  while at > 0 and seats[at].value < seat.value do
    at = at - 1
  end
  table.insert(seats, at + 1, seat)
end

-- The seat of an agent, which gives it up. An agent need have none: a conversation may prefer it, or what it keeps is for the job.
local function stand_up(a)
  for at = 1, #seats do
    if seats[at].agent == a then
      return table.remove(seats, at)
    end
  end
  return { agent = a, is_heavier = true }
end

-- Seats the first agent of a rank, which goes before all that are seated, and brings up the one behind it.
local function look_at(n)
  local h = heads[n]
  local index, a = h.index + 1, not known[h.id] and agent:load(h.id)
  if a == nil then
    redis.call('ZREM', key('rank:' .. cid, h.step), h.id)
    index, late = h.index, late + 1
  elseif a and not agent.takes_work(a) then
    rank.update(a)
    rank.settle()
    -- Should it stand where it does not know of, too.
    rank.leave(a, cid, h.step)
    index, late = h.index, late + 1
  elseif a then
    known[h.id] = true
    table.insert(seats, 1, { agent = a, value = h.value })
  end
  local following = passed_over < PASSED_OVER and late < LATE and place.head(cid, h.step, index)
  if following then
    heads[n] = following
  else
    table.remove(heads, n)
  end
end

-- The best agent with room for a job, with its devices; nil if there is none.
function lineup.find(j)
  if cid ~= j.class then
    open(j)
  end
  while true do
    local n, seat = place.best_of(heads), seats[1]
    if n and not (seat and seat.value >= heads[n].value) then
      look_at(n)
    elseif seat then
      if not seat.slots then
        look_around(seat, j)
      end
      if seat.devices then
        return seat.agent, seat.devices
      end
      passed_over = passed_over + 1
      table.remove(seats, 1)
    else
      return held.find(j)
    end
  end
end

-- The agent has got one more. Unless that one takes memory or CPUs, nothing else has changed.
local function count_one(seat, j, devices)
  if seat.slots and #devices == 0 and j.ram == 0 and j.cpus == 0 then
    seat.taken = seat.taken + 1
  else
    look_around(seat, j)
  end
  if seat.devices and seat.taken < seat.slots then
    seat.score = score_of(seat)
    seat.value = rank.value(seat.agent, seat.score)
    sit_down(seat)
  else
    seat.value = nil
  end
end

-- Binds a job to an agent, as lib/binding does, which then stands where its score is now.
function lineup.bind(j, a, devices, for_ms)
  local seat = stand_up(a)
  binding.enqueue(j, a, binding.reserve(j, a, devices, seat.score or seat.slots and score_of(seat)), for_ms)
  seat.is_heavier = seat.is_heavier or #devices > 0
  changed[a.id], known[a.id] = seat, true
  count_one(seat, j, devices)
end

return lineup
