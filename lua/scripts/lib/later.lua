-- later: puts off making a part until it is first used, so that a script does not make functions that it seldom calls: that
-- took a third of the time of placing a job.
local PUT_OFF = {}

-- What was put off takes the part's name from then on; a caller that had the stand-in in its hands uses it this once.
function PUT_OFF.__index(stand_in, name)
  return stand_in[1](stand_in[2])[name]
end

-- What stands in for a part until `make` is called with its name.
local function later(make, name)
  return setmetatable({ make, name }, PUT_OFF)
end

return later
