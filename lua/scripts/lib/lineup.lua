-- lineup: who gets the next of several jobs of one class that a script binds. Each gets the agent that lib/place would find for
-- it; but the ranks are read once, a few agents at a time, and each agent that got something is ranked anew once, at the end.
--
-- It is for jobs that are alike: new ones with the same needs, which no agent has refused and none is to be kept from. Half-open
-- agents are passed by: what may be tried again is theirs first, and lib/place sees to that.
local lineup = {}

local PASSED_OVER = 32
-- All agents may be late at once, and a script must not be long: after so many of them it looks no further.
local LATE = 128
-- Agents that are read with one command, if there are as many jobs.
local AHEAD = 8

-- What the jobs have in common, of one class; the first agent of each rank that was not looked at, with those behind it that are read
-- already; the seats of those that were looked at and may have room, the best first; and how many had none.
local class, heads, seats, passed_over
-- The seats of the agents that got something, and the agents that the ranks need not bring up, both by id.
local changed, known
-- How many agents of any line were late, and so have left the ranks.
local late

calls.begin_with(function()
  class, heads, seats, passed_over, changed, known = nil, nil, nil, nil, nil, nil
  late = 0
end)

-- Ranks the agents anew that got something. Whoever asks next looks at the ranks from the beginning.
function lineup.close()
  for _, seat in pairs(class and changed or {}) do
    rank.update(seat.agent, class, not seat.is_heavier and seat.value)
  end
  class = nil
end

local function open(j)
  lineup.close()
  rank.settle()
  class, seats, passed_over, changed, known = j, {}, 0, {}, {}
  heads = place.heads_of(j.class, j, rank.steps(j.class), true)
end

-- Works out whether an agent has room for a job, and all that makes its score.
local function look_around(seat, j)
  local a = seat.agent
  local left = room.beside(a)
  seat.slots, seat.taken = room.slots(a, j.kind, j.model, left)
  -- A slot that is kept for another job is no load yet.
  seat.kept = j.kind == 'process' and left.kept or 0
  seat.devices, seat.parts = fit.now(a, j, left, seat.slots, seat.taken), rank.parts(a, j)
end

local function score_of(seat)
  return rank.weigh(seat.agent, class.kind, seat.parts, 1 - (seat.taken - seat.kept) / seat.slots)
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

-- Reads the agents of a rank that come next: twice as many as the time before, but no more than there are jobs.
local function read_ahead(h, jobs)
  local count, ids = math.min(2 * (h.count or 1), jobs, AHEAD), {}
  h.count, h.at, h.ahead = count, 1, place.members(class.class, h.step, h.index, count)
  for at = 1, #h.ahead, 2 do
    ids[#ids + 1] = h.ahead[at]
  end
  agent:read_ahead(ids)
end

-- Brings up the agent that is the first of a rank now; a rank that has none, or that is looked at no further, is done with.
local function bring_up(n, jobs)
  local h = heads[n]
  local is_enough = passed_over >= PASSED_OVER or late >= LATE
  if not is_enough and not (h.ahead and h.ahead[h.at]) then
    read_ahead(h, jobs)
  end
  if is_enough or not h.ahead[1] then
    table.remove(heads, n)
    return
  end
  h.id, h.value, h.at = h.ahead[h.at], tonumber(h.ahead[h.at + 1]), h.at + 2
end

-- Seats the first agent of a rank, which goes before all that are seated. No agent behind it has a larger value.
local function seat_first(h)
  local id = h.id
  local a = not known[id] and agent:load(id)
  h.id = nil
  if a == nil then
    redis.call('ZREM', key('rank:' .. class.class, h.step), id)
    late = late + 1
  elseif a and not agent.takes_work(a) then
    rank.update(a)
    rank.settle()
    -- Should it stand where it does not know of, too.
    rank.leave(a, class.class, h.step)
    late = late + 1
  else
    h.index = h.index + 1
    if a then
      known[id] = true
      table.insert(seats, 1, { agent = a, value = h.value })
    end
  end
end

-- The best agent with room for a job, with its devices; nil if there is none. `jobs`: how many there are to find one for, with this.
function lineup.find(j, jobs)
  if not class or class.class ~= j.class then
    open(j)
  end
  while true do
    local n, seat = place.best_of(heads), seats[1]
    if n and not (seat and seat.value >= heads[n].value) then
      if heads[n].id then
        seat_first(heads[n])
      else
        bring_up(n, jobs)
      end
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
  seat.is_heavier = seat.is_heavier or #devices > 0 or j.ram > 0
  changed[a.id], known[a.id] = seat, true
  count_one(seat, j, devices)
end

return lineup
