-- later: puts off making a part until it is first used, so that a script does not make functions that it seldom calls: that
-- took a third of the time of placing a job.
local PUT_OFF = {}

function PUT_OFF.__index(part, name)
  local made = part[1]()
  part[1] = nil
  return setmetatable(part, { __index = made })[name]
end

local function later(make)
  return setmetatable({ make }, PUT_OFF)
end

return later
