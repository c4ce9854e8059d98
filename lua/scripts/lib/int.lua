-- int: an integer as an argument of a command. Redis spells numbers with 17 digits, which takes longer than most commands.
--
-- The one that was spelled last is kept: many jobs of one script have the same times.
local spelled, as

local function int(n)
  if n ~= spelled then
    spelled, as = n, string.format('%d', n)
  end
  return as
end

return int
