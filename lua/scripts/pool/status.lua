--[[ pool/status: counts agents and jobs by state.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  now_ms   integer, or "" for Redis TIME (tests pass their own)

  Returns  {"status", now_ms, agents, degraded, half_open, offline, draining, guarded, jobs, blocked, delayed,
           scheduled, running, ended}
           | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/clock lib/pool          Cost  O(1)
]]
local refused = pool.enter(ARGV[1])
if refused then
  return refused
end
return {
  'status', pool.now, redis.call('ZCARD', key('agents')),
  redis.call('SCARD', key('agents', 'degraded')), redis.call('SCARD', key('agents', 'half_open')),
  redis.call('SCARD', key('agents', 'offline')), redis.call('SCARD', key('agents', 'draining')),
  redis.call('SCARD', key('agents', 'guarded')),
  redis.call('ZCARD', key('jobs')), redis.call('SCARD', key('blocked')), redis.call('SCARD', key('delayed')),
  redis.call('SCARD', key('scheduled')), redis.call('SCARD', key('running')),
  redis.call('ZCARD', key('ended')),
}
