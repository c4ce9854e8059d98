-- int: an integer as an argument of a command. Redis spells numbers with 17 digits, which takes longer than most commands.
--
-- The one that was spelled last is kept: many jobs of one script have the same times.
local spelled, text

calls.begin_with(function()
  spelled, text = nil, nil
end)

local function int(n)
  if n ~= spelled then
    spelled, text = n, string.format('%d', n)
  end
  return text
end

return int
