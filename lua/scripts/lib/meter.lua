-- meter: what each API key has had of models.
--
-- usage:<owner>  hash  "requests", "prompt" and "completion" (tokens), each followed by a colon and the model
local meter = {}

local FIELDS = 768

-- Counts an answered request. Of models past the first 256 all count as one.
function meter.count(j, usage)
  local of = key('usage', j.owner or '')
  local model = ':' .. j.model
  if redis.call('HLEN', of) >= FIELDS and redis.call('HEXISTS', of, 'requests' .. model) == 0 then
    model = ':'
  end
  redis.call('HINCRBY', of, 'requests' .. model, '1')
  redis.call('HINCRBY', of, 'prompt' .. model, int(usage.prompt_tokens or 0))
  redis.call('HINCRBY', of, 'completion' .. model, int(usage.completion_tokens or 0))
end

return meter
