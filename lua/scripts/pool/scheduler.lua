--[[ pool/scheduler: reads the weights of the pool, or sets them.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  profile  string   the profile's name, or "" to read only
  ARGV[2]  vram     number   0..1
  ARGV[3]  load     number   0..1
  ARGV[4]  rtt      number   0..1
  ARGV[5]  perf     number   0..1
  ARGV[6]  now_ms   integer, or "" for Redis TIME (tests pass their own)

  Returns  {"scheduler", profile, version, vram, load, rtt, perf} | {"no_pool"} | {"newer_schema"}
  Uses     lib/keys lib/pool                          Cost  O(1)
]]
local refused = pool.open(ARGV[6])
if refused then
  return refused
end
local function read()
  local f = redis.call('HMGET', KEYS[1], 'profile', 'version', 'w_vram', 'w_load', 'w_rtt', 'w_perf')
  return { 'scheduler', f[1], f[2], f[3], f[4], f[5], f[6] }
end
local now = read()
if ARGV[1] == '' then
  return now
end
local same = now[2] == ARGV[1] and now[4] == ARGV[2] and now[5] == ARGV[3] and now[6] == ARGV[4] and now[7] == ARGV[5]
if not same then
  redis.call('HSET', KEYS[1], 'profile', ARGV[1], 'version', string.format('%.0f', now[3] + 1), 'w_vram', ARGV[2],
    'w_load', ARGV[3], 'w_rtt', ARGV[4], 'w_perf', ARGV[5])
end
return pool.finish(read())
