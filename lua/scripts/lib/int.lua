-- int: an integer as an argument of a command. Redis spells numbers with 17 digits, which takes longer than most commands.
--
-- The two that were spelled last are kept: many things of one script have the same times.
local spelled, text, before, its_text

calls.begin_with(function()
  spelled, text, before, its_text = nil, nil, nil, nil
end)

local function int(n)
  if n ~= spelled then
    if n == before then
      return its_text
    end
    before, its_text = spelled, text
    spelled, text = n, string.format('%d', n)
  end
  return text
end

return int
