--[[ audit/keys: says which of these keys of the pool belong to nothing that is there. It writes nothing.

  KEYS[1]   pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]   absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]   now_ms   integer, or "" for Redis TIME (tests pass their own)
  ARGV[2…]  keys     string, each the name of a key without the prefix

  Returns  {"audited", "", keys looked at, {kind, id, what is wrong}…} | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/clock lib/pool lib/ledger
  Cost     O(number of keys)
]]
local refused = pool.enter(ARGV[1])
if refused then
  return refused
end

-- What has one key a pool.
local SINGLE = { due = true, jobs = true, broken = true, scheduled = true, running = true, blocked = true, delayed = true,
  ended = true, outputs = true, agents = true, identities = true, classes = true, waiting = true, holds = true,
  events = true, event_keys = true, sessions = true, session_agents = true, usage = true, tickets = true, makers = true,
  asked = true, asked_anew = true }
-- What has one key a thing, and whose record that thing has.
local OWNED = { job = 'jobs', agent = 'agents', class = 'classes', spec = 'job', failures = 'job', result = 'job', prompt = 'job',
  dependents = 'job', output = 'job', facts = 'agent', models = 'agent', live = 'agent', members = 'class', pending = 'class',
  rank = 'class', tags = 'class' }

local function is_there(owner, id)
  if owner == 'jobs' or owner == 'agents' or owner == 'classes' then
    return redis.call('ZSCORE', key(owner), id)
  end
  return redis.call('EXISTS', key(owner, id)) == 1
end

local function look(name)
  local kind, rest = string.match(name, '^([%a_]+):?(.*)$')
  if SINGLE[kind or ''] and (rest == '' or kind == 'agents' or kind == 'usage' or kind == 'tickets') then
    return
  elseif kind == 'idem' then
    local id = string.match(redis.call('GET', key('idem', rest)) or '', '^%S+')
    if id and redis.call('EXISTS', key('job', id)) == 0 then
      ledger.add('key', name, 'belongs to job ' .. id .. ', which there is not')
    end
  elseif not OWNED[kind or ''] then
    ledger.add('key', name, 'is of no known kind')
  else
    local id = (kind == 'output' or kind == 'rank') and string.match(rest, '^[^:]+') or rest
    if not is_there(OWNED[kind], id) and redis.call('EXISTS', key(kind, rest)) == 1 then
      ledger.add('key', name, 'belongs to ' .. id .. ', which there is not')
    end
  end
end

for at = 2, #ARGV do
  ledger.look('key', ARGV[at], 2, look)
end
return ledger.close('')
