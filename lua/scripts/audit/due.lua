--[[ audit/due: looks at a slice of what falls due, or of what could not be settled: each entry is of something that is there,
     and none has waited for long. It writes nothing.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  part     string   due or broken
  ARGV[2]  cursor   string   where the slice before ended, or "0"
  ARGV[3]  now_ms   integer, or "" for Redis TIME (tests pass their own)

  Returns  {"audited", the cursor of the next slice or "" if none follows, entries looked at, {kind, id, what is wrong}…}
           | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/clock lib/pool lib/ledger
  Cost     O(200)
]]
local COUNT = 100
-- Timers look every minute, and an amnesty puts everything off.
local LATE_MS = 180000

local refused = pool.enter(ARGV[3])
if refused then
  return refused
end

local OF = { job = 'job', after = 'job', agent = 'agent', room = 'agent', serving = 'agent', class = 'class',
  usage = 'usage' }
-- What goes through all agents, or looks at the whole pool.
local OF_ALL = { ended = true, hold = true, scores = true, aliases = true, prompts = true }

local function look_at_due(member, at)
  local kind, id = string.match(member, '^(%a+):(.+)$')
  if not OF[kind or ''] and not OF_ALL[kind or ''] then
    return ledger.add('due', member, 'is of no known kind')
  end
  local late = pool.now - math.max(tonumber(at), pool.amnesty)
  if OF[kind] and redis.call('EXISTS', key(OF[kind], id)) == 0 then
    ledger.add('due', member, 'falls due and is not there')
  elseif late > LATE_MS then
    ledger.add('due', member, 'has been due for ' .. math.floor(late / 1000) .. ' s: does a coordinator run?')
  end
end

local function look_at_broken(member, problem)
  ledger.add('due', member, 'could not be settled: ' .. problem)
end

local page
if ARGV[1] == 'due' then
  page = redis.call('ZSCAN', key('due'), ARGV[2], 'COUNT', COUNT)
else
  page = redis.call('HSCAN', key('broken'), ARGV[2], 'COUNT', COUNT)
end
local look = ARGV[1] == 'due' and look_at_due or look_at_broken
for i = 1, #page[2], 2 do
  ledger.look('due', page[2][i], 1, look, page[2][i + 1])
end
return ledger.close(page[1] ~= '0' and page[1] or '')
