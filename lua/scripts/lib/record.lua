-- record: one packed value a key, read once in a script, changed in memory, and written at its end: once for what the script
-- itself has done, and once more for what it has settled for others (see lib/due).
--
-- A record is packed as the values of its fields in their declared order: reading and writing it costs a tenth of a hash of
-- as many fields. To that order new fields are only ever added at the end, unless the number of the schema rises (see lib/job,
-- where what few records have is named). Each kind names its fields in its own `unpack` and `pack`, since a loop over a list of
-- them takes three times as long.
local record = {}
record.__index = record

local AT_ONCE = 512
local REMEMBERED_BYTES = 8192
-- Whether a step of this script has failed, so that nothing says what it has left in records.
local is_in_doubt = false
-- Keys and values that are to be written.
local kept = {}

calls.begin_with(function()
  kept, is_in_doubt = kept[1] and {} or kept, false
end)

-- Declares a kind of record by the first part of its key. It then needs unpack(id, packed), which gives the record,
-- is_whole(r), which says whether what was unpacked is one, pack(r), which gives the string, and strip(r), which takes from it all
-- but what its bytes say, and says whether it is worth remembering: so many are, so that the next script need not unpack the same
-- bytes again. And it may have write_beside(r), which writes what belongs to the record but lies in other keys.
function record.kind(name, most)
  local kind = setmetatable({ name = name, most = most, cache = {}, order = {}, remembered = {}, count = 0 }, record)
  calls.begin_with(function()
    kind.cache, kind.order, kind.broken = {}, kind.order[1] and {} or kind.order, nil
  end)
  return kind
end

-- What a key holds, whatever its type is; any other trouble than that ends the script.
local function read(name)
  local packed = redis.pcall('GET', name)
  if type(packed) == 'table' and not string.find(packed.err, 'WRONGTYPE', 1, true) then
    return redis.call('GET', name)
  end
  return packed
end

-- Runs a command on a key of which more than one thing is kept. What something has made one of another type keeps nobody up: it
-- is noted and goes, as it could be read by nobody, and the second result is true, for whoever can make it anew.
function record.ask(command, name, ...)
  local told = redis.pcall(command, name, ...)
  if type(told) ~= 'table' or not told.err then
    return told
  end
  local is_gone = string.find(told.err, 'WRONGTYPE', 1, true) and type(redis.pcall('DEL', name)) == 'number'
  if is_gone then
    redis.call('HSET', key('broken'), string.sub(name, #calls.pool + 2), 'it was of another type, and was removed')
  end
  return redis.call(command, name, ...), is_gone
end

-- The record of an id as a script before has left it, if its key still holds the same; it is not remembered any more.
local function recall(kind, id, packed)
  local known = kind.remembered[id]
  if known then
    kind.remembered[id], kind.count = nil, kind.count - 1
  end
  return known and known.packed == packed and kind:adopt(known) or nil
end

-- Takes in what the key of an id holds; nil if there is none.
local function take(kind, id, packed)
  local known = recall(kind, id, packed)
  if known then
    return known
  end
  if packed then
    local ok, r = pcall(kind.unpack, id, packed)
    if ok and kind.is_whole(r) then
      r.packed = packed
      return kind:adopt(r)
    end
    kind.broken = kind.broken or {}
    kind.broken[id] = true
  end
  kind.cache[id] = false
  return nil
end

-- The record of that id, the same table for every call of this script; nil if there is none. What no version of the program
-- has written is as if it were not there, so that it stands in nobody's way; a script that writes notes it.
function record:load(id)
  local found = self.cache[id]
  if found ~= nil then
    return found or nil
  end
  return take(self, id, read(key(self.name, id)))
end

-- Whether this script has read what there is of an id.
function record:is_read(id)
  return self.cache[id] ~= nil
end

-- Notes that none of those ids has a record, for a script that is about to make them, where that is so.
function record:expect_none(ids)
  local names, cache, prefix = {}, self.cache, key(self.name, '')
  for i = 1, #ids do
    names[i] = prefix .. ids[i]
  end
  local there = redis.call('EXISTS', unpack(names))
  for i = 1, there == 0 and #ids or 0 do
    cache[ids[i]] = false
  end
  return there == 0
end

-- Takes in what the keys of ids hold; it fails if any of that is no record.
local function take_all(kind, ids, packed)
  local unpack_one, is_whole = kind.unpack, kind.is_whole
  for i = 1, #ids do
    local id, bytes = ids[i], packed[i]
    if not recall(kind, id, bytes) and bytes then
      local r = unpack_one(id, bytes)
      if not is_whole(r) then
        error('no record')
      end
      r.packed = bytes
      kind:adopt(r)
    end
  end
end

-- Reads the records of those ids with one command, for a script that is about to load them all. What is no string is left to
-- `load`.
function record:read_ahead(ids)
  local names, wanted, cache, prefix = {}, {}, self.cache, key(self.name, '')
  for i = 1, #ids > 1 and #ids or 0 do
    local id = ids[i]
    if cache[id] == nil then
      cache[id] = false
      names[#names + 1], wanted[#wanted + 1] = prefix .. id, id
    end
  end
  if not names[1] then
    return
  end
  local found, absent, unread = redis.call('MGET', unpack(names)), {}, {}
  local are_good = pcall(take_all, self, wanted, found)
  for i = 1, #wanted do
    if not found[i] then
      absent[#absent + 1], unread[#unread + 1] = names[i], wanted[i]
    elseif not are_good and not cache[wanted[i]] then
      take(self, wanted[i], found[i])
    end
  end
  if absent[1] and redis.call('EXISTS', unpack(absent)) > 0 then
    for _, id in ipairs(unread) do
      cache[id] = nil
    end
  end
end

-- The same for a script that is about this one: it fails if the record can't be read.
function record:need(id)
  local r = self:load(id)
  if not r and self.broken and self.broken[id] then
    error('the record of ' .. self.name .. ' ' .. id .. ' can not be read', 0)
  end
  return r
end

-- Takes a record in; a new one is written only once it is changed.
function record:adopt(r)
  local order = self.order
  self.cache[r.id], order[#order + 1] = r, r
  if self.broken then
    self.broken[r.id] = nil
  end
  return r
end

-- Changes a field; nil removes it.
function record:put(r, field, value)
  if r[field] ~= value then
    r[field] = value
    r.changed = true
  end
end

-- Forgets a record whose key was deleted.
function record:drop(r)
  self.cache[r.id] = false
  r.changed = false
end

-- Keeps a value that is to be written with the next records: one command for several costs less than one for each.
function record.keep(name, value)
  kept[#kept + 1], kept[#kept + 2] = name, value
end

-- Writes what is kept, a number of values that Lua can pass at once.
local function write()
  for from = 1, #kept, AT_ONCE do
    redis.call('MSET', unpack(kept, from, math.min(from + AT_ONCE - 1, #kept)))
  end
  kept = {}
end

local function note_broken(kind)
  for id in pairs(kind.broken) do
    redis.call('HSET', key('broken'), kind.name .. ':' .. id, 'its record can not be read')
  end
  kind.broken = nil
end

-- Keeps every changed record of a kind to be written.
local function keep_changed(kind)
  local order, pack, write_beside, prefix = kind.order, kind.pack, kind.write_beside, key(kind.name, '')
  for i = 1, #order do
    local r = order[i]
    if r.changed then
      local packed = pack(r)
      kept[#kept + 1], kept[#kept + 2] = prefix .. r.id, packed
      r.changed, r.packed = false, packed
      if write_beside then
        write_beside(r)
      end
    end
  end
  if kind.broken then
    note_broken(kind)
  end
end

-- Writes every changed record of these kinds, and what was kept for them.
function record.flush(kind, other)
  keep_changed(kind)
  if other then
    keep_changed(other)
  end
  if kept[1] then
    write()
  end
end

-- Says that a step has failed and was caught: no record is remembered as it was left.
function record.doubt()
  is_in_doubt = true
end

-- Remembers records of a kind for the scripts that follow, once all is written. Whoever loads one has it out of here until it is
-- written again, so that what a script leaves that fails is known to nobody.
function record:remember()
  for _, r in ipairs(is_in_doubt and {} or self.order) do
    local is_written = not r.changed and r.packed and #r.packed <= REMEMBERED_BYTES and self.cache[r.id] == r
    if is_written and self.strip(r) then
      if self.count >= self.most then
        self.remembered, self.count = {}, 0
      end
      self.remembered[r.id], self.count = r, self.count + 1
    end
  end
end

return record
