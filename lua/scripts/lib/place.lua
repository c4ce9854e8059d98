-- place: finds the agent for a job among those that can take it now.
local place = {}

local EXAMINED = 32
local OF_ONE_STEP = 8

-- The agent at an index of a rank, best first: {step, index, id, value}; nil past its end.
local function head(cid, step, index)
  local found = redis.call('ZREVRANGE', key('rank:' .. cid, step), index, index, 'WITHSCORES')
  if not found[1] then
    return nil
  end
  return { step = step, index = index, id = found[1], value = tonumber(found[2]) }
end

-- The first agent of every rank in which agents may have room.
local function heads_of(cid, need)
  local bits = tonumber(redis.call('HGET', key('class', cid), 'steps') or '0')
  local first = rank.step(need.gpus > 0 and need.vram or need.ram)
  local heads = {}
  for step = first, 17 do
    local mask = bit.lshift(1, step)
    if bit.band(bits, mask) ~= 0 then
      local h = head(cid, step, 0)
      if h then
        heads[#heads + 1] = h
      else
        bits = bits - mask
        redis.call('HSET', key('class', cid), 'steps', bits)
      end
    end
  end
  return heads
end

local function best_of(heads)
  local best
  for i, h in ipairs(heads) do
    if not best or h.value > heads[best].value then
      best = i
    end
  end
  return best
end

-- The best agent with room for the job, with its devices; nil if there is none.
-- One that no longer waits for work leaves all ranks; one that the job avoids is taken only if no other fits.
function place.find(j)
  local heads = heads_of(j.class, j)
  local spare
  for _ = 1, EXAMINED do
    local best = best_of(heads)
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
    else
      index = index + 1
      if not job.is_refused_by(j, a.id) then
        local devices = fit.now(a, j)
        if devices and not job.avoids(j, a.id) then
          return a, devices
        end
        spare = spare or (devices and { a, devices })
      end
    end
    heads[best] = index < OF_ONE_STEP and head(j.class, h.step, index) or false
    if not heads[best] then
      table.remove(heads, best)
    end
  end
  if spare then
    return spare[1], spare[2]
  end
  return nil
end

return place
