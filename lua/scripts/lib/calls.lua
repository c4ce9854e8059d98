-- calls: what each call of a script begins with. Parts are made once and serve many calls, so what one has kept in memory must
-- not reach the next: a part that keeps anything says here how a call finds it.
local calls = {}

local beginnings = {}

-- Has this called at the beginning of every call; and at once, should the part be made in the middle of one (see lib/later).
function calls.begin_with(begin)
  beginnings[#beginnings + 1] = begin
  if calls.pool then
    begin()
  end
end

-- Begins a call on these keys, of which the first is the pool's.
function calls.begin(keys)
  calls.pool = keys[1]
  for i = 1, #beginnings do
    beginnings[i]()
  end
end

return calls
