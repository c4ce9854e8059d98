-- behind: writes that are put off until somebody has to see them, or the step ends that they belong to: one command then does
-- what many would. A part that has put something off says how it is written.
local behind = {}

local writers, is_put = {}, {}

-- Has this called when what is put off has to be written, once.
function behind.put(write)
  if not is_put[write] then
    writers[#writers + 1], is_put[write] = write, true
  end
end

-- Writes what is put off. Each writer is let go of before it is called, so that one that fails is not called again.
function behind.write()
  while writers[1] do
    local write = table.remove(writers)
    is_put[write] = nil
    write()
  end
end

return behind
