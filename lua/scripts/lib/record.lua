-- record: hashes that are read once in a script, changed in memory, and written once at its end.
local record = {}

-- Declares a kind of record: `name` is the first part of its key, `fields` the fields that are read.
-- Numbers are the fields in `numeric`; they are nil where Redis has none.
function record.kind(name, fields, numeric)
  local kind = { cache = {}, order = {} }
  local is_number = {}
  for _, field in ipairs(numeric) do
    is_number[field] = true
  end

  -- The record of that id, the same table for every call of this script; nil if there is none.
  function kind.load(id)
    local found = kind.cache[id]
    if found ~= nil then
      return found or nil
    end
    local values = redis.call('HMGET', key(name, id), unpack(fields))
    if not values[1] then
      kind.cache[id] = false
      return nil
    end
    local r = { id = id, dirty = {} }
    for i, field in ipairs(fields) do
      local value = values[i]
      if value and is_number[field] then
        value = tonumber(value)
      end
      r[field] = value or nil
    end
    kind.adopt(r)
    return r
  end

  -- Takes a new record in.
  function kind.adopt(r)
    r.dirty = r.dirty or {}
    kind.cache[r.id] = r
    kind.order[#kind.order + 1] = r
  end

  -- Changes a field; nil removes it.
  function kind.put(r, field, value)
    if r[field] ~= value then
      r[field] = value
      r.dirty[field] = true
    end
  end

  -- Forgets a record whose key was deleted.
  function kind.drop(r)
    kind.cache[r.id] = false
    r.dirty = {}
  end

  -- Writes every changed field.
  function kind.flush()
    for _, r in ipairs(kind.order) do
      local set, gone = {}, {}
      for field in pairs(r.dirty) do
        local value = r[field]
        if value == nil then
          gone[#gone + 1] = field
        else
          set[#set + 1] = field
          set[#set + 1] = type(value) == 'number' and string.format('%.17g', value) or value
        end
      end
      if #set > 0 then
        redis.call('HSET', key(name, r.id), unpack(set))
      end
      if #gone > 0 then
        redis.call('HDEL', key(name, r.id), unpack(gone))
      end
      r.dirty = {}
    end
  end

  return kind
end
