--[[ agents/join: reserves an agent's id for the key that joined. A removed id may join again with another key.

  KEYS[1]  pool        hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent      none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  agent       string
  ARGV[2]  public_key  string   base64url
  ARGV[3]  now_ms      integer, or "" for Redis TIME (tests pass their own)

  Returns  {"joined"} | {"taken"} | {"removed"} | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/clock lib/pool          Cost  O(1)
]]
local refused = pool.enter(ARGV[3])
if refused then
  return refused
end
local owner = redis.call('HGET', key('identities'), ARGV[1])
if owner == '!' .. ARGV[2] then
  return { 'removed' }
elseif owner and string.sub(owner, 1, 1) ~= '!' and owner ~= ARGV[2] then
  return { 'taken' }
end
redis.call('HSET', key('identities'), ARGV[1], ARGV[2])
return pool.finish({ 'joined' })
