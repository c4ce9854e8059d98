-- int: an integer as an argument of a command. Redis spells numbers with 17 digits, which takes longer than most commands.
local function int(n)
  return string.format('%d', n)
end

return int
