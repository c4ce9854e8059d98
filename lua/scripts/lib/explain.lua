-- explain: why an agent was chosen: the best candidates with their parts, and what rules the others out.
local explain = {}

local EXAMINED = 200
local CANDIDATES = 5
-- What passes by itself.
local PASSING = { held = true, slots = true, cooling = true, vram_free = true, gpus_free = true, ram_free = true, cpus_free = true,
  not_waiting = true }
-- What may come of something that hinders the agent.
local OF_HINDRANCES = { hindered = true, model = true, vram_free = true, gpus_free = true }
local NAMED = 8

local function verdict(a, c, j)
  local never = capable.lacks(a, c, j)
  if never then
    return never
  elseif a.state == 'offline' or a.state == 'half_open' then
    return a.state
  elseif a.draining or a.leaving then
    return 'draining'
  elseif avoid.is_refused(j, a.id) then
    return 'refused'
  end
  local devices, lacking = fit.for_job(a, j)
  if not devices then
    lacking = a.held and fit.now(a, j, room.left(a)) and 'held' or lacking
  elseif not agent.takes_work(a) then
    lacking = 'not_waiting'
  end
  return lacking == 'not_waiting' and agent.hindered_by(a, c.kind)[1] and 'hindered' or lacking
end

-- Notes an agent with what hinders it, if that may be why it does not take the job.
local function note_hindered(hindered, a, c, why)
  local words = #hindered < NAMED and OF_HINDRANCES[why] and agent.hindered_by(a, c.kind)
  if words and words[1] then
    hindered[#hindered + 1] = { a.id, words }
  end
end

local function six_digits(part)
  return string.format('%.6f', part)
end

local function candidate(a, c)
  local parts, load = rank.parts(a, c), rank.load_part(a, c)
  local score = rank.weigh(a, c.kind, parts, load)
  return { a.id, six_digits(score), six_digits(parts.vram), six_digits(load), six_digits(rank.rtt_part(a)),
    six_digits(parts.perf), six_digits(parts.cost), a.state == 'degraded' and '1' or '0',
    c.kind ~= 'process' and int(parts.warm) or '', score = score, used = a.used_seq or 0 }
end

-- The agents that could take the job now, and of the others how many each reason rules out, the most first. `could`: how
-- many could take it at all, now or later. `hindered`: the first few that something on their boxes hinders, with their words.
local function examine(j, c)
  local candidates, counts, reasons, could, hindered = {}, {}, {}, 0, {}
  local ids = redis.call('ZRANGEBYLEX', key('agents'), '-', '+', 'LIMIT', 0, EXAMINED)
  for _, id in ipairs(ids) do
    local a = agent:load(id)
    local why = a and verdict(a, c, j)
    if why then
      counts[why] = (counts[why] or 0) + 1
      could = could + (PASSING[why] and 1 or 0)
      note_hindered(hindered, a, c, why)
    elseif a then
      candidates[#candidates + 1] = candidate(a, c)
      could = could + 1
    end
  end
  for why, n in pairs(counts) do
    reasons[#reasons + 1] = { why, n }
  end
  table.sort(reasons, function(x, y) return x[2] > y[2] or (x[2] == y[2] and x[1] < y[1]) end)
  return candidates, reasons, could, #ids, hindered
end

-- What keeps a waiting job from each agent: counts by reason, how many agents were examined, how many of them could
-- run it, and {agent, words} of those that are hindered.
function explain.obstacles(j, spec)
  local _, reasons, could, examined, hindered = examine(j, class.decode(j.class, spec))
  return reasons, examined, could, hindered
end

-- The state before the choice, as a list for the reply: weights, candidates (best first), counts by reason, examined.
function explain.survey(j, spec)
  local candidates, reasons, _, examined = examine(j, class.decode(j.class, spec))
  table.sort(candidates, function(x, y)
    local vx, vy = rank.coarse(x.score), rank.coarse(y.score)
    return vx > vy or (vx == vy and x.used < y.used)
  end)
  local best = {}
  for i = 1, math.min(CANDIDATES, #candidates) do
    best[i] = candidates[i]
  end
  local vram, load, rtt, perf, cost = pool.weights()
  return { { tostring(vram), tostring(load), tostring(rtt), tostring(perf), tostring(cost or 0) }, best, reasons, examined,
    session.agent_of(j) or '' }
end

return explain
