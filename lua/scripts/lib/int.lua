-- int: an integer as an argument of a command. Redis spells numbers with 17 digits, which takes longer than most commands.
--
-- What was spelled is kept: many jobs of one script have the same times.
local spelled

local SMALL = {}
for n = 0, 64 do
  SMALL[n] = string.format('%d', n)
end

calls.begin_with(function()
  spelled = {}
end)

local function int(n)
  local text = SMALL[n] or spelled[n]
  if not text then
    text = string.format('%d', n)
    spelled[n] = text
  end
  return text
end

return int
