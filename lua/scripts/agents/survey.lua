--[[ agents/survey: looks in a slice of the registry for agents that could ever run such a job, and says what rules the
     others out.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  class    JSON     {kind, model, gpus, labels: [name, value] pairs}
  ARGV[2]  vram     integer  megabytes on each GPU
  ARGV[3]  ram      integer  megabytes
  ARGV[4]  cpus     integer  thousandths of a CPU
  ARGV[5]  after    string   the last agent of the slice before, or ""
  ARGV[6]  now_ms   integer, or "" for Redis TIME (tests pass their own)

  Returns  {"surveyed", last agent or "" after the last slice, capable, {reason, agents…}} | {"no_pool"}
           | {"newer_schema"}
  Uses     lib/calls lib/key lib/clock lib/pool lib/record lib/terms lib/agent lib/capable
  Cost     O(256)
]]
local SLICE = 256

local refused = pool.enter(ARGV[6])
if refused then
  return refused
end
local c = cjson.decode(ARGV[1])
local need = { gpus = c.gpus, vram = tonumber(ARGV[2]), ram = tonumber(ARGV[3]), cpus = tonumber(ARGV[4]) }
local from = ARGV[5] == '' and '-' or '(' .. ARGV[5]
local ids = redis.call('ZRANGEBYLEX', key('agents'), from, '+', 'LIMIT', 0, SLICE)
local able, counts, reasons = 0, {}, {}
for _, id in ipairs(ids) do
  local a = agent:load(id)
  local why = a and capable.lacks(a, c, need)
  if why then
    counts[why] = (counts[why] or 0) + 1
  elseif a then
    able = able + 1
  end
end
for why, n in pairs(counts) do
  reasons[#reasons + 1], reasons[#reasons + 2] = why, n
end
return { 'surveyed', #ids == SLICE and ids[#ids] or '', able, reasons }
