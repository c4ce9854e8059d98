-- record: one packed value a key, read once in a script, changed in memory, and written once at its end.
--
-- A record is packed as a list of its fields in their declared order, false where it has none: reading and writing it
-- costs a tenth of a hash of as many fields. New fields are only ever added at the end.
local record = {}
record.__index = record

-- Declares a kind of record: the first part of its key, and its fields.
function record.kind(name, fields)
  return setmetatable({ name = name, fields = fields, cache = {}, order = {} }, record)
end

-- The record of that id, the same table for every call of this script; nil if there is none.
function record:load(id)
  local found = self.cache[id]
  if found ~= nil then
    return found or nil
  end
  local packed = redis.call('GET', key(self.name, id))
  if not packed then
    self.cache[id] = false
    return nil
  end
  local r, values, fields = { id = id }, cmsgpack.unpack(packed), self.fields
  for i = 1, #values do
    r[fields[i]] = values[i] or nil
  end
  return self:adopt(r)
end

-- Takes a record in; a new one is written only once it is changed.
function record:adopt(r)
  self.cache[r.id] = r
  self.order[#self.order + 1] = r
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

-- Writes every changed record.
function record:flush()
  local fields = self.fields
  for _, r in ipairs(self.order) do
    if r.changed then
      local values = {}
      for i = 1, #fields do
        values[i] = r[fields[i]] or false
      end
      redis.call('SET', key(self.name, r.id), cmsgpack.pack(values))
      r.changed = false
    end
  end
end

return record
