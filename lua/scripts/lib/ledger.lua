-- ledger: what an audit has found in one slice, and how much it has looked at. A slice ends when it has read so much that
-- Redis must not be held up any longer; the next one goes on from there.
local ledger = {}

local MOST_READS = 400
local MOST_FOUND = 100

local found, checked, reads

calls.begin_with(function()
  found, checked, reads = {}, 0, 0
end)

-- Notes what is wrong with a thing: its kind, its id, and what is wrong.
function ledger.add(kind, id, wrong)
  if #found < MOST_FOUND then
    found[#found + 1] = { kind, id, wrong }
  end
end

-- Notes reads beside those that looking at a thing always takes.
function ledger.read(count)
  reads = reads + count
end

-- Looks at a thing, which takes so many reads. One that cannot be read is a finding, too, and must not hide the others.
function ledger.look(kind, id, cost, look, ...)
  local ok, problem = pcall(look, id, ...)
  if not ok then
    ledger.add(kind, id, 'cannot be read: ' .. tostring(problem))
  end
  checked, reads = checked + 1, reads + cost
end

-- Whether the slice has to end.
function ledger.is_full()
  return reads >= MOST_READS or #found >= MOST_FOUND
end

-- The reply of a slice: where the next one begins, "" if there is none.
function ledger.close(next)
  return { 'audited', next, checked, found }
end

return ledger
