-- explain: why an agent was chosen: the best candidates with their parts, and what rules the others out.
local explain = {}

local EXAMINED = 200
local CANDIDATES = 5

local function verdict(a, c, j)
  local never = capable.lacks(a, c, j)
  if never then
    return never
  elseif a.state == 'offline' then
    return 'offline'
  elseif a.draining or a.leaving then
    return 'draining'
  elseif a.held and a.held ~= j.id then
    return 'held'
  end
  local devices, lacking = fit.now(a, j)
  if not devices then
    return lacking
  elseif not agent.takes_work(a) then
    return 'not_waiting'
  end
  return nil
end

local function six_digits(part)
  return string.format('%.6f', part)
end

local function candidate(a, c)
  local score = rank.score(a, c)
  local vram, load, rtt, perf, cost = rank.parts(a, c)
  return { a.id, six_digits(score), six_digits(vram), six_digits(load), six_digits(rtt), six_digits(perf), six_digits(cost),
    a.state == 'degraded' and '1' or '0', score = score, used = a.used_seq or 0 }
end

-- The state before the choice, as a list for the reply: weights, candidates (best first), counts by reason, examined.
function explain.survey(j, spec)
  local c = class.decode(j.class, spec)
  local candidates, counts, reasons = {}, {}, {}
  local ids = redis.call('ZRANGEBYLEX', key('agents'), '-', '+', 'LIMIT', 0, EXAMINED)
  for _, id in ipairs(ids) do
    local a = agent:load(id)
    local why = a and verdict(a, c, j)
    if why then
      counts[why] = (counts[why] or 0) + 1
    elseif a then
      candidates[#candidates + 1] = candidate(a, c)
    end
  end
  table.sort(candidates, function(x, y)
    local vx, vy = rank.coarse(x.score), rank.coarse(y.score)
    return vx > vy or (vx == vy and x.used < y.used)
  end)
  for why, n in pairs(counts) do
    reasons[#reasons + 1] = { why, n }
  end
  table.sort(reasons, function(x, y) return x[2] > y[2] or (x[2] == y[2] and x[1] < y[1]) end)
  local best = {}
  for i = 1, math.min(CANDIDATES, #candidates) do
    best[i] = candidates[i]
  end
  local vram, load, rtt, perf, cost = pool.weights()
  return { { tostring(vram), tostring(load), tostring(rtt), tostring(perf), tostring(cost or 0) }, best, reasons, #ids }
end

return explain
