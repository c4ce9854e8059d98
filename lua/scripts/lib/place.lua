-- place: finds the agent for a job among those that can take it now.
local place = {}

local EXAMINED = 32
local OF_ONE_STEP = 8
local TRIAL_BIT = 2 ^ rank.TRIAL

-- Agents of a rank from an index on, best first, each id with its value behind it.
function place.members(cid, step, index, count)
  return rank.ask(cid, 'ZREVRANGE', key('rank:' .. cid, step), int(index), int(index + count - 1), 'WITHSCORES')
end

-- The agent at an index of a rank, best first: {step, index, id, value}; nil past its end. The value is not asked for where
-- there is no other rank to compare with: Redis takes longer to spell it than to find the agent.
function place.head(cid, step, index, alone)
  if alone then
    local id = rank.ask(cid, 'ZREVRANGE', key('rank:' .. cid, step), int(index), int(index))[1]
    return id and { step = step, index = index, id = id, value = 0 }
  end
  local found = place.members(cid, step, index, 1)
  return found[1] and { step = step, index = index, id = found[1], value = tonumber(found[2]) }
end

-- The steps of the ranks in which agents may have room, the smallest first: of the bits that are set, one after the other.
local function steps_of(bits, need)
  local steps, least = {}, 2 ^ rank.step(need.gpus > 0 and need.vram or need.ram)
  local rest = bits % TRIAL_BIT
  rest = rest - rest % least
  while rest > 0 do
    local lowest = bit.band(rest, -rest)
    local _, exponent = math.frexp(lowest)
    steps[#steps + 1], rest = exponent - 1, rest - lowest
  end
  return steps
end

-- The first agent of every rank in which agents may have room; `alone` if there is one such rank, and their values are not
-- wanted.
function place.heads_of(cid, need, bits, with_values)
  local steps = steps_of(bits, need)
  local heads = { alone = #steps == 1 and not with_values }
  for _, step in ipairs(steps) do
    local h = place.head(cid, step, 0, heads.alone)
    if h then
      heads[#heads + 1] = h
    else
      bits = bits - bit.lshift(1, step)
      rank.put_steps(cid, bits)
    end
  end
  return heads
end

-- Which of them is the best.
function place.best_of(heads)
  local best
  for i = 1, #heads do
    if not best or heads[i].value > heads[best].value then
      best = i
    end
  end
  return best
end

-- Of the half-open agents that wait for a trial, one that has room for the job, with its devices.
local function on_trial(j, ids)
  for _, id in ipairs(ids) do
    local a = agent:load(id)
    if not a then
      rank.leave({ id = id }, j.class, rank.TRIAL)
    elseif not agent.takes_work(a) then
      rank.update(a)
    elseif not avoid.is_refused(j, id) and not avoid.is_avoided(j, id) then
      local devices = fit.for_job(a, j)
      if devices then
        return a, devices
      end
    end
  end
  return nil
end

-- The best agent with room for the job, with its devices; nil if there is none. A half-open one that waits for a trial goes
-- first, however it scores. One that no longer waits for work leaves all ranks; one that the job avoids is taken only if no
-- other fits, and after that what an agent keeps for a job that the job goes before.
local function best(j)
  rank.settle()
  local bits = rank.steps(j.class)
  if bits >= TRIAL_BIT then
    local ids = rank.ask(j.class, 'ZREVRANGE', key('rank:' .. j.class, rank.TRIAL), '0', int(OF_ONE_STEP - 1))
    local a, devices = on_trial(j, ids)
    if a then
      return a, devices
    elseif not ids[1] then
      bits = bits - TRIAL_BIT
      rank.put_steps(j.class, bits)
    end
  end
  local heads = place.heads_of(j.class, j, bits)
  local spare
  for _ = 1, EXAMINED do
    local best = place.best_of(heads)
    if not best then
      break
    end
    local h = heads[best]
    local a = agent:load(h.id)
    local index = h.index
    if not a then
      redis.call('ZREM', key('rank:' .. j.class, h.step), h.id)
    elseif not agent.takes_work(a) then
      rank.update(a)
      rank.settle()
      -- Should it stand where it does not know of, too.
      rank.leave(a, j.class, h.step)
    else
      index = index + 1
      if not (j.refused and avoid.is_refused(j, a.id)) then
        local devices = fit.now(a, j, room.beside(a))
        if devices and not (j.avoid and avoid.is_avoided(j, a.id)) then
          return a, devices
        end
        spare = spare or (devices and { a, devices })
      end
    end
    heads[best] = index < OF_ONE_STEP and place.head(j.class, h.step, index, heads.alone) or false
    if not heads[best] then
      table.remove(heads, best)
    end
  end
  if spare then
    return spare[1], spare[2]
  end
  return held.find(j)
end

-- The agent that the job goes to, with its devices; nil if none has room. Where it is the next request of a conversation,
-- that may be the agent of the one before.
function place.find(j)
  local a, devices = best(j)
  if a and j.session then
    return session.prefer(j, a, devices)
  end
  return a, devices
end

return place
