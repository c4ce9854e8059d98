-- behind: writes that are put off until somebody has to see them, or the step ends that they belong to: one command then does
-- what many would. A part that has put something off says how it is written.
local behind = {}

-- There are never more than a few.
local writers = {}

calls.begin_with(function()
  writers = writers[1] and {} or writers
end)

-- Has this called when what is put off has to be written, once.
function behind.put(write)
  for i = 1, #writers do
    if writers[i] == write then
      return
    end
  end
  writers[#writers + 1] = write
end

-- Writes what is put off. Each writer is let go of before it is called, so that one that fails is not called again. One that has
-- several things to write puts itself off anew before each, and lets go of that first, so that the others are not lost with it.
function behind.write()
  while writers[1] do
    local last = #writers
    local write = writers[last]
    writers[last] = nil
    write()
  end
end

-- The same at the end of a step whose errors are caught: what can't be written keeps nothing else from it, here or later. Returns
-- the first reason; nil if all was written.
function behind.try_to_write()
  local trouble
  while writers[1] do
    local is_written, problem = pcall(behind.write)
    trouble = trouble or (not is_written and tostring(problem)) or nil
  end
  return trouble
end

return behind
