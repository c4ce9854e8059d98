-- key: the names of a pool's keys. All share the hash tag of KEYS[1], hence its slot.
--
--   due            zset  job:<id>, agent:<id>, class:<id>, room:<agent>, after:<job>, serving:<agent>, scores:<agent>,
--                        aliases:<agent>, usage:<owner>, ended:all… (see lib/ending), hold:all, hold:<number of jobs> or
--                        prompts:all by the time when it has to be looked at
--   jobs           zset  all jobs, score 0, so in the order of their ids
--   broken         hash  what due held but could not be settled, and what else could not be read, and why
--   scheduled      set   jobs bound to an agent      running  set   jobs under a lease
--   blocked        set   jobs that wait for others   delayed  set   jobs that wait for a time
--   ended          zset  ended jobs by the time of their end, or when they were put behind the others (see lib/retention)
--   outputs        zset  ended jobs of which output is kept, by the time of their end
--   events         stream, see lib/event     event_keys  zset  idempotency keys by the number of their event
--   agents         zset  all agents, score 0         agents:<state>, agents:draining, :tripped, :guarded  set (the last two:
--                        out of service by failures, and in it though their failures would take them out)
--   identities     hash  agent id to public key, after "!" (which no base64url holds) once removed
--   classes        zset  classes by last use         waiting  zset, see lib/line
--   job:<id>       record of lib/job        spec:<id>  JSON    failures:<id>  list of JSON    result:<id>  JSON
--   dependents:<id>  zset, see lib/dependencies                idem:<hash>    see lib/idempotency
--   prompt:<id>    string: what a model is asked, the body of the request
--   asked          hash  bytes of prompts by the owner of their jobs; asked_anew: the same, while they are counted anew
--   output:<id>:<attempt>:<segment>  string, see lib/output
--   agent:<id>     record of lib/agent      facts:<id>  JSON   live:<id>      hash of attempts by job, see lib/terms
--   models:<id>    JSON: the models of an agent as it told them last, if that was after it registered
--   sessions, session_agents   see lib/session  usage:<owner>  see lib/meter
--   tickets:<owner>  zset: the unused tickets of an API key, by the time until which places are kept for them
--   makers         zset  API keys for which classes were made, by when they may have all of their share again
--   holds          hash, see lib/held      tags:<class>   zset, see lib/fair
--   class:<id>     hash                     members:<class>, pending:<class> (see lib/line), rank:<class>:<step>  zset
--
-- The hash itself, KEYS[1], has schema, clock (packed: now, heard, amnesty, the silence that it was for, sequence, offset,
-- bytes of output, events, bytes of prompts, and while those are counted anew, how many so far and up to which job), settings (packed, in the order of pool/open's arguments), weights (packed: VRAM, load, RTT,
-- performance, cost, strategy), the profile and version of the weights, and aliases (see lib/catalog). Channels agent:<id>,
-- job:<id> and events carry announcements of changes.

-- The pool that the names are of; and the names of keys of which a pool has one.
local of, prefix, names

calls.begin_with(function()
  names = of == calls.pool and names or {}
  prefix = of == calls.pool and prefix or calls.pool .. ':'
  of = calls.pool
end)

-- The name of a key of which there is one. What has an id in it is not kept.
local function single(name)
  local full = prefix .. name
  if not string.find(name, ':', 1, true) then
    names[name] = full
  end
  return full
end

local function key(name, id)
  return id and prefix .. name .. ':' .. id or names[name] or single(name)
end

return key
