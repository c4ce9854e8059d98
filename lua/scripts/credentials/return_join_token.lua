--[[ credentials/return_join_token: undoes a use of a join token by a public key that could not join after all.

  KEYS[1]  token       hash     titan:join-token:<id>
  KEYS[2]  token       hash     the same key again
  ARGV[1]  public_key  string   base64url

  Returns  {"returned"}
  Uses     nothing                                    Cost  O(1)
]]
if redis.call('HDEL', KEYS[1], 'by:' .. ARGV[1]) == 1 then
  redis.call('HINCRBY', KEYS[1], 'used', -1)
end
return { 'returned' }
