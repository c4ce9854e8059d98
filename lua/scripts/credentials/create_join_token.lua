--[[ credentials/create_join_token: stores a join token, which Redis forgets by itself when it expires: what is lost then is
     good for nothing any more.

  KEYS[1]  token       hash     titan:join-token:<id>
  KEYS[2]  token       hash     the same key again
  ARGV[1]  secret      string   SHA-256 of the secret, in hex
  ARGV[2]  pool        string
  ARGV[3]  uses        integer
  ARGV[4]  created_ms  integer
  ARGV[5]  expires_ms  integer

  Returns  {"created"}
  Uses     nothing                                    Cost  O(1)
]]
redis.call('HSET', KEYS[1], 'secret_sha256', ARGV[1], 'pool', ARGV[2], 'uses', ARGV[3], 'used', 0, 'created_ms', ARGV[4],
  'expires_ms', ARGV[5])
redis.call('PEXPIREAT', KEYS[1], ARGV[5])
return { 'created' }
