-- terms: what a live attempt takes of its agent, since when, and what brought it; and a live attempt, which has terms and beside
-- them its state, number and lease.
--
-- Most attempts of a script are on the same terms. Those are unpacked once, and each attempt has them through its metatable. So
-- they must not change, and neither must an attempt: one that is changed is made anew.
local terms = {}

-- Terms by the bytes that they are packed in, and attempts that nobody has begun by theirs.
local known_by, unbegun

calls.begin_with(function()
  known_by, unbegun = {}, {}
end)

local function keep(bytes, model, vram, devices, ram, cpus, since, _, claim, exclusive, edge, ticket)
  if type(vram) ~= 'number' or type(devices) ~= 'table' or type(claim) ~= 'number' then
    error('no live attempt')
  end
  local known = { bytes = bytes, model = model, vram = vram, devices = devices, ram = ram, cpus = cpus, since = since,
    claim = claim, exclusive = exclusive, edge = edge, ticket = ticket, is_heavy = ram > 0 or devices[1] ~= nil, begun = nil }
  known.terms, known.__index = known, known
  known_by[bytes] = known
  return known
end

local function unpack_those(bytes)
  return keep(bytes, cmsgpack.unpack(bytes))
end

-- What attempts take, since when, and what brought them: shared by all that say the same, so it must not change. (Where 0 is,
-- the order of the job once was.)
function terms.of(model, vram, devices, ram, cpus, since, claim, exclusive, edge, ticket)
  local bytes = cmsgpack.pack(model, vram, devices, ram, cpus, since, 0, claim, exclusive, edge, ticket)
  return known_by[bytes] or keep(bytes, model, vram, devices, ram, cpus, since, 0, claim, exclusive, edge, ticket)
end

-- The terms of an attempt that a claim of this number has brought.
function terms.begun(a, kept, claim)
  local edge, begun = a.edge or 0, kept.begun
  if not begun or begun.claim ~= claim or begun.edge ~= edge then
    begun = terms.of(kept.model, kept.vram, kept.devices, kept.ram, kept.cpus, pool.now, claim, kept.exclusive, edge, kept.ticket)
    kept.begun = begun
  end
  return begun
end

-- A live attempt: one that is changed is made anew.
function terms.attempt(state, number, lease, those)
  return setmetatable({ state = state, number = number, lease = lease }, those)
end

-- A live attempt as Redis keeps it.
function terms.packed(entry)
  return entry.packed or cmsgpack.pack(entry.state, entry.number, entry.lease) .. entry.bytes
end

-- A live attempt that nobody has begun: one for all jobs that have as many attempts behind them.
function terms.unbegun(number, those)
  local known = those.unbegun
  if not known or known.number ~= number then
    known = terms.attempt('bound', number, '', those)
    known.packed = terms.packed(known)
    those.unbegun, unbegun[known.packed] = known, known
  end
  return known
end

local function unpack_entry(packed)
  local known = unbegun[packed]
  if known then
    return known
  end
  local at, state, number, lease = cmsgpack.unpack_limit(packed, 3)
  local bytes = string.sub(packed, at + 1)
  local those = known_by[bytes] or unpack_those(bytes)
  return lease == '' and state == 'bound' and terms.unbegun(number, those) or terms.attempt(state, number, lease, those)
end

local function unpack_entries(packed)
  local entries = {}
  for i = 1, #packed do
    entries[i] = packed[i] and unpack_entry(packed[i])
  end
  return entries
end

-- The attempts that Redis has told of; false for each that is not there. What can't be read is nobody's: its job moves on at the
-- end of its lease.
function terms.read(packed)
  local are_good, entries = pcall(unpack_entries, packed)
  if are_good then
    return entries
  end
  entries = {}
  for i = 1, #packed do
    local is_good, entry = pcall(unpack_entry, packed[i])
    entries[i] = is_good and entry
  end
  return entries
end

return terms
