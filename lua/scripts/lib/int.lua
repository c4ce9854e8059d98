-- int: an integer as an argument of a command. Redis spells numbers with 17 digits, which takes longer than most commands.
--
-- What was spelled is kept: many jobs of one script have the same times.
local spelled

calls.begin_with(function()
  spelled = {}
end)

local function int(n)
  local text = spelled[n]
  if not text then
    text = string.format('%d', n)
    spelled[n] = text
  end
  return text
end

return int
