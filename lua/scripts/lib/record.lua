-- record: hashes that are read once in a script, changed in memory, and written once at its end.
--
-- Redis takes Lua's numbers as arguments with 17 digits, so numbers need no formatting on their way out.
local record = {}
record.__index = record

-- Declares a kind of record: the first part of its key, and its fields: first the numbers, as many as `numbers` says.
function record.kind(name, numbers, fields)
  return setmetatable({ name = name, numbers = numbers, fields = fields, cache = {}, order = {} }, record)
end

-- The record of that id, the same table for every call of this script; nil if there is none.
function record:load(id)
  local found = self.cache[id]
  if found ~= nil then
    return found or nil
  end
  local fields, numbers = self.fields, self.numbers
  local values = redis.call('HMGET', key(self.name, id), unpack(fields))
  if not values[1] then
    self.cache[id] = false
    return nil
  end
  local r = { id = id }
  for i = 1, #fields do
    local value = values[i]
    if value then
      r[fields[i]] = i <= numbers and tonumber(value) or value
    end
  end
  return self:adopt(r, {})
end

-- Takes a record in; `dirty` holds the fields that still have to be written.
function record:adopt(r, dirty)
  r.dirty = dirty
  self.cache[r.id] = r
  self.order[#self.order + 1] = r
  return r
end

-- Changes a field; nil removes it.
function record:put(r, field, value)
  if r[field] ~= value then
    r[field] = value
    r.dirty[field] = true
  end
end

-- Forgets a record whose key was deleted.
function record:drop(r)
  self.cache[r.id] = false
  r.dirty = {}
end

-- Writes every changed field.
function record:flush()
  for _, r in ipairs(self.order) do
    local set, n, gone = {}, 0, nil
    for field in pairs(r.dirty) do
      local value = r[field]
      if value == nil then
        gone = gone or {}
        gone[#gone + 1] = field
      else
        set[n + 1], set[n + 2] = field, value
        n = n + 2
      end
    end
    if n > 0 then
      redis.call('HSET', key(self.name, r.id), unpack(set))
    end
    if gone then
      redis.call('HDEL', key(self.name, r.id), unpack(gone))
    end
    r.dirty = {}
  end
end
