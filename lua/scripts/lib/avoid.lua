-- avoid: agents that a job is kept from. Those where it failed or went unclaimed are passed over while another fits, those
-- that refused it always.
local avoid = {}

local KEPT = 8

local function listed(list, id)
  return list ~= nil and string.find(',' .. list .. ',', ',' .. id .. ',', 1, true) ~= nil
end

local function prepended(list, id)
  local kept = { id }
  for other in string.gmatch(list or '', '[^,]+') do
    if other ~= id and #kept < KEPT then
      kept[#kept + 1] = other
    end
  end
  return table.concat(kept, ',')
end

function avoid.is_avoided(j, agent_id)
  return listed(j.avoid, agent_id)
end

function avoid.is_refused(j, agent_id)
  return listed(j.refused, agent_id)
end

function avoid.add(j, agent_id)
  job:put(j, 'avoid', prepended(j.avoid, agent_id))
end

function avoid.add_refusal(j, agent_id)
  job:put(j, 'refused', prepended(j.refused, agent_id))
end

return avoid
