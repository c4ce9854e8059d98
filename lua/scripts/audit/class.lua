--[[ audit/class: looks at a slice of the members, the queue or one rank of a class: each entry is one that the record of its
     agent or job says. It writes nothing.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  class    string
  ARGV[2]  part     string   members, pending, or the number of a rank
  ARGV[3]  cursor   string   where the slice before ended, or "0"
  ARGV[4]  now_ms   integer, or "" for Redis TIME (tests pass their own)

  Returns  {"audited", the cursor of the next slice or "" if none follows, entries looked at, {kind, id, what is wrong}…}
           | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/clock lib/pool lib/record lib/job lib/terms lib/agent lib/ledger
  Cost     O(100)
]]
local COUNT = 64

local refused = pool.enter(ARGV[4])
if refused then
  return refused
end
local cid, part = ARGV[1], ARGV[2]

-- Where the agent's record says that it stands in the class: step and value; nil if it is no member.
local function standing_of(a)
  local standing = agent.standing(a)
  for i, place in ipairs(agent.places(a)) do
    for _, other in ipairs(place.classes) do
      if other == cid then
        return standing[2 * i - 1] or -1, standing[2 * i]
      end
    end
  end
  return nil
end

local function look_at_job(id, order)
  local j = job:need(id)
  if not j then
    ledger.add('class', cid, 'has job ' .. id .. ' in its queue, which there is not')
  elseif j.state ~= 'pending' or j.class ~= cid then
    ledger.add('class', cid, 'has job ' .. id .. ' in its queue, which is ' .. j.state)
  elseif j.order ~= tonumber(order) then
    ledger.add('class', cid, 'has job ' .. id .. ' at another place of its queue than its order says')
  end
end

local function look_at_agent(id, value)
  local a = agent:need(id)
  local step, its_value
  if a then
    step, its_value = standing_of(a)
  end
  if not a or not step then
    ledger.add('class', cid, 'has agent ' .. id .. ', whose record does not say so')
  elseif part ~= 'members' and (step ~= tonumber(part) or its_value ~= tonumber(value)) then
    ledger.add('class', cid, 'has agent ' .. id .. ' in rank ' .. part .. ', where its record does not say')
  end
end

local name = part ~= 'members' and part ~= 'pending' and key('rank:' .. cid, part) or key(part, cid)
local page = redis.call('ZSCAN', name, ARGV[3], 'COUNT', COUNT)
local look = part == 'pending' and look_at_job or look_at_agent
for i = 1, #page[2], 2 do
  ledger.look('class', page[2][i], 1, look, page[2][i + 1])
end
return ledger.close(page[1] ~= '0' and page[1] or '')
