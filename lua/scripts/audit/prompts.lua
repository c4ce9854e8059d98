--[[ audit/prompts: compares how many bytes of prompts the pool counts, in all and by owner, with those that there are. It does
     so for a pool of few jobs: of more it could not at one moment. It writes nothing.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  now_ms   integer, or "" for Redis TIME (tests pass their own)

  Returns  {"audited", "", 1 if they were compared, else 0, {kind, id, what is wrong}…} | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/int lib/clock lib/pool lib/ledger
  Cost     O(400)
]]
local MOST_JOBS = 400

local refused = pool.enter(ARGV[1])
if refused then
  return refused
end

local function look()
  local bytes, of_owners = 0, 0
  for _, id in ipairs(redis.call('ZRANGE', key('jobs'), 0, -1)) do
    local of_job = redis.pcall('STRLEN', key('prompt', id))
    bytes = bytes + (type(of_job) == 'number' and of_job or 0)
  end
  if bytes ~= pool.prompts then
    ledger.add('pool', 'prompts', 'takes what models are asked for ' .. int(pool.prompts) .. ' bytes, and it is ' .. int(bytes))
  end
  local owned = redis.pcall('HVALS', key('asked'))
  for _, of_owner in ipairs(owned.err and {} or owned) do
    of_owners = of_owners + of_owner
  end
  if bytes ~= of_owners then
    ledger.add('pool', 'prompts', 'takes what models are asked for ' .. int(of_owners) .. ' bytes of owners, and it is ' .. int(bytes))
  end
end

-- A pool that has never counted them, or does so now, has nothing to compare.
if type(pool.prompts) == 'number' and not pool.counted and redis.call('ZCARD', key('jobs')) <= MOST_JOBS then
  ledger.look('pool', 'prompts', MOST_JOBS, look)
end
return ledger.close('')
