--[[ models/list: the models that a slice of the registry serves, each for every kind of backend with how many agents do.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  after    string   the last agent of the slice before, or ""
  ARGV[2]  now_ms   integer, or "" for Redis TIME (tests pass their own)

  Returns  {"models", last agent or "" after the last slice, {name, VRAM, parallel, backend, megabytes or "", agents that can be
           given work, those of them that have it loaded, since when the first was registered}…} | {"no_pool"}
           | {"newer_schema"}
  Uses     lib/calls lib/key lib/clock lib/pool lib/record lib/terms lib/agent lib/room
  Cost     O(128 + 400 models)
]]
local SLICE = 128
-- A slice ends early once it has looked at so many models, since an agent may have hundreds.
local MODELS = 400

local refused = pool.enter(ARGV[2])
if refused then
  return refused
end
local from = ARGV[1] == '' and '-' or '(' .. ARGV[1]
local ids = redis.call('ZRANGEBYLEX', key('agents'), from, '+', 'LIMIT', 0, SLICE)
local found, looked, last = {}, 0, nil

local function add(a, name, model)
  -- What is known by another name has its backend by its own.
  local backend = (agent.caps(a).models[model.of] or model).backend or ''
  local kind = name .. ' ' .. backend
  local row = found[kind] or { name = name, backend = backend, agents = 0, loaded = 0, since = a.registered_ms, model = model }
  found[kind] = row
  if model.parallel > row.model.parallel then
    row.model = model
  end
  row.since = math.min(row.since, a.registered_ms)
  if room.parallel(a, model, model.of or name) > 0 then
    row.agents = row.agents + 1
    row.loaded = row.loaded + (model.loaded and 1 or 0)
  end
end

for _, id in ipairs(ids) do
  local a = agent:load(id)
  if a and a.state ~= 'offline' and not a.draining and not a.leaving then
    for name, model in pairs(agent.caps(a).models) do
      add(a, name, model)
      looked = looked + 1
    end
  end
  last = id
  if looked >= MODELS then
    break
  end
end
local rows = {}
for _, row in pairs(found) do
  local m = row.model
  rows[#rows + 1] = { row.name, m.vram, m.parallel, row.backend, m.size or '', row.agents, row.loaded, row.since }
end
local is_last = #ids < SLICE and last == ids[#ids]
return { 'models', is_last and '' or last, rows }
