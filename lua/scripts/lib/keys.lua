-- keys: the names of a pool's keys. All share the hash tag of KEYS[1], hence its slot.
--
--   due            zset  job:<id>, agent:<id> or class:<id> by the time when it has to be looked at
--   jobs           zset  all jobs, score 0, so in the order of their ids
--   scheduled      set   jobs bound to an agent      running  set   jobs under a lease
--   ended          zset  ended jobs by the time of their end
--   agents         zset  all agents, score 0         agents:<state>, agents:draining  set
--   identities     hash  agent id to public key, "-" once removed
--   classes        zset  classes by last use         waiting  zset  classes with pending jobs by their best job's order
--   job:<id> spec:<id> failures:<id> output:<id>:<attempt>:<segment>      agent:<id> facts:<id> live:<id>
--   class:<id> members:<class> pending:<class> rank:<class>:<step>
local PREFIX = KEYS[1] .. ':'

local function key(name, id)
  return id and PREFIX .. name .. ':' .. id or PREFIX .. name
end
