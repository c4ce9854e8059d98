-- meter: what each API key has had of models.
--
-- usage:<owner>  hash  "requests", "prompt" and "completion" (tokens), each followed by a colon and the model; seen: how many
--                      requests there were when lib/retention last looked
local meter = {}

local FIELDS = 768

-- Counts an answered request. Of models past the first 256 all count as one.
function meter.count(j, usage)
  local owner = j.owner or ''
  local of = key('usage', owner)
  local model = ':' .. j.model
  local there = record.ask('HLEN', of)
  if there == 0 then
    retention.watch_usage(owner)
  end
  if there >= FIELDS and redis.call('HEXISTS', of, 'requests' .. model) == 0 then
    model = ':'
  end
  -- A count that can't be read is worth less than the end of the request.
  redis.pcall('HINCRBY', of, 'requests' .. model, '1')
  redis.pcall('HINCRBY', of, 'prompt' .. model, int(usage.prompt_tokens or 0))
  redis.pcall('HINCRBY', of, 'completion' .. model, int(usage.completion_tokens or 0))
end

return meter
