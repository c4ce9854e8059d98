--[[ credentials/use_join_token: uses a join token for a public key; the same key may use it again.

  KEYS[1]  token       hash     titan:join-token:<id>
  KEYS[2]  token       hash     the same key again
  ARGV[1]  secret      string   SHA-256 of the secret, in hex
  ARGV[2]  public_key  string   base64url
  ARGV[3]  agent       string   the agent id for this key, if it has none yet
  ARGV[4]  use         string   random; names this use, if it is the key's first
  ARGV[5]  now_ms      integer, or "" for Redis TIME (tests pass their own)

  Returns  {"used", pool, agent} | {"invalid"} | {"used_up"}
  Uses     lib/clock                                Cost  O(1)
]]
local by, use = 'by:' .. ARGV[2], 'use:' .. ARGV[2]
local now = clock.read(ARGV[5])
local f = redis.call('HMGET', KEYS[1], 'secret_sha256', 'pool', 'uses', 'expires_ms', 'used', by)
if not f[1] or f[1] ~= ARGV[1] or now >= tonumber(f[4]) then
  return { 'invalid' }
end
if f[6] then
  -- Two calls count on it now: neither may forget it for the other.
  redis.call('HDEL', KEYS[1], use)
  return { 'used', f[2], f[6] }
end
if tonumber(f[5]) >= tonumber(f[3]) then
  return { 'used_up' }
end
redis.call('HSET', KEYS[1], 'used', f[5] + 1, by, ARGV[3], use, ARGV[4])
return { 'used', f[2], ARGV[3] }
