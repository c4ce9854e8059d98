--[[ credentials/forget_join_token_use: forgets for whom a join token was used, since that key could not join under the id
     that it wanted. The use itself stays spent: otherwise one token could try which ids are taken as often as it likes.

  KEYS[1]  token       hash     titan:join-token:<id>
  KEYS[2]  token       hash     the same key again
  ARGV[1]  public_key  string   base64url
  ARGV[2]  use         string   the use; another one of the same key stays

  Returns  {"forgotten"}
  Uses     nothing                                    Cost  O(1)
]]
if redis.call('HGET', KEYS[1], 'use:' .. ARGV[1]) == ARGV[2] then
  redis.call('HDEL', KEYS[1], 'by:' .. ARGV[1], 'use:' .. ARGV[1])
end
return { 'forgotten' }
