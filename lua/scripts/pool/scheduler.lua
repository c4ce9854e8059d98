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
  Uses     lib/key lib/clock lib/pool          Cost  O(1)
]]
local refused = pool.enter(ARGV[6])
if refused then
  return refused
end
local wanted = { tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]) }
local f = redis.call('HMGET', KEYS[1], 'profile', 'version', 'weights')
local profile, version, weights = f[1], tonumber(f[2]), { cmsgpack.unpack(f[3]) }

local function is_change()
  for i = 1, 4 do
    if wanted[i] ~= weights[i] then
      return true
    end
  end
  return profile ~= ARGV[1]
end

if ARGV[1] ~= '' and is_change() then
  profile, version, weights = ARGV[1], version + 1, wanted
  redis.call('HSET', KEYS[1], 'profile', profile, 'version', version, 'weights', cmsgpack.pack(unpack(weights)))
end
local reply = { 'scheduler', profile, version }
for i = 1, 4 do
  reply[i + 3] = string.format('%.17g', weights[i])
end
return ARGV[1] == '' and reply or pool.finish(reply)
