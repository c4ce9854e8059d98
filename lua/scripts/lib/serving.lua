-- serving: how an agent's models have served, how fast they were and whether their backends fail.
--
-- What a backend does wrong counts against that model on that agent: after 3 failures in a row it gets no requests for a
-- cool-down (10 s, doubling to 5 min), then one, which decides. An attempt that began before a cool-down ended tells
-- nothing about what comes after it. One request that fails again and again may be what is wrong itself, so it counts once.
local serving = {}

local FAILURES_TO_COOL = 3
local COOL_DOWN_MS = 10000
local LONGEST_COOL_DOWN_MS = 300000
local WEIGHT_OF_LATEST = 0.3
local KEPT = 256

-- What is kept of the model of a live attempt, and whether the attempt may move it.
local function of(a, job_id)
  local entry, all = agent.entry(a, job_id), agent.served(a)
  local served = all[entry.model] or { fails = 0 }
  all[entry.model] = served
  return served, not served.until_ms or entry.since >= served.until_ms, entry.model
end

-- Of models that are served no more only so many are remembered.
local function put(a)
  local count = 0
  for _ in pairs(a.served) do
    count = count + 1
  end
  for name in pairs(count > KEPT and a.served or {}) do
    if not agent.model(a, name) then
      a.served[name] = nil
    end
  end
  agent:put(a, 'served_packed', cmsgpack.pack(a.served))
end

-- Has the agent looked at when its next cool-down ends.
local function watch(a)
  local first
  for _, served in pairs(agent.served(a)) do
    if served.until_ms and served.until_ms > pool.now then
      first = math.min(first or served.until_ms, served.until_ms)
    end
  end
  if first then
    redis.call('ZADD', key('due'), int(first), 'serving:' .. a.id)
  else
    redis.call('ZREM', key('due'), 'serving:' .. a.id)
  end
end

-- The backend failed an attempt that the agent holds. It has `failed_before` if this agent has failed the request already.
function serving.failed(a, job_id, failed_before)
  local served, counts, model = of(a, job_id)
  local decides = served.until_ms ~= nil
  if not counts or (failed_before and not decides) then
    return
  end
  served.fails = served.fails + 1
  if served.fails >= FAILURES_TO_COOL then
    served.cool_ms = served.cool_ms and math.min(2 * served.cool_ms, LONGEST_COOL_DOWN_MS) or COOL_DOWN_MS
    served.until_ms = pool.now + served.cool_ms
    event.append('breaker.model', cjson.encode({ agent_id = a.id, model = model, failures = served.fails,
      cool_down_ms = served.cool_ms }))
    watch(a)
  end
  put(a)
end

local function smoothed(before, latest)
  return before and before + (latest - before) * WEIGHT_OF_LATEST or latest
end

-- The backend answered an attempt that the agent holds. `usage` is as the agent tells it, perhaps empty.
function serving.completed(a, job_id, usage)
  local served, counts = of(a, job_id)
  if counts then
    served.fails, served.cool_ms, served.until_ms = 0, nil, nil
  end
  local tokens, ms = usage.completion_tokens or 0, usage.generation_ms or 0
  if tokens > 1 and ms > 0 then
    served.speed = smoothed(served.speed, (tokens - 1) * 1000 / ms)
  end
  if usage.first_token_ms then
    served.first_ms = smoothed(served.first_ms, usage.first_token_ms)
  end
  put(a)
end

-- A cool-down is over.
function serving.settle(id)
  local a = agent:load(id)
  if not a then
    redis.call('ZREM', key('due'), 'serving:' .. id)
    return
  end
  watch(a)
  rank.update(a)
  queue.fill(a)
end

return serving
