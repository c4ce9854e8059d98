--[[ pool/scheduler: reads how the pool chooses agents, or sets it; all agents are then scored anew, a few with each script.

  KEYS[1]  pool      hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent    none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  profile   string   the profile's name, or "" to read only
  ARGV[2]  vram      number   0..1
  ARGV[3]  load      number   0..1
  ARGV[4]  rtt       number   0..1
  ARGV[5]  perf      number   0..1
  ARGV[6]  cost      number   0..1
  ARGV[7]  strategy  string   score or round_robin
  ARGV[8]  now_ms    integer, or "" for Redis TIME (tests pass their own)

  Returns  {"scheduler", profile, version, strategy, vram, load, rtt, perf, cost} | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/int lib/clock lib/pool       Cost  O(1)
]]
local WEIGHTS = 5

local refused = pool.enter(ARGV[8])
if refused then
  return refused
end
local f = redis.call('HMGET', KEYS[1], 'profile', 'version')
local profile, version, now = f[1], tonumber(f[2]), { pool.weights() }
now[5], now[6] = now[5] or 0, now[6] or 'score'
local wanted = { tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7] }

local function is_change()
  for i = 1, WEIGHTS + 1 do
    if wanted[i] ~= now[i] then
      return true
    end
  end
  return profile ~= ARGV[1]
end

if ARGV[1] ~= '' and is_change() then
  profile, version, now = ARGV[1], version + 1, wanted
  redis.call('HSET', KEYS[1], 'profile', profile, 'version', version, 'weights', cmsgpack.pack(unpack(now)))
  redis.call('ZADD', key('due'), int(pool.now), 'scores:*')
end
local reply = { 'scheduler', profile, version, now[6] }
for i = 1, WEIGHTS do
  reply[i + 4] = string.format('%.17g', now[i])
end
return ARGV[1] == '' and reply or pool.finish(reply)
