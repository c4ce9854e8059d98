-- meter: what each API key has had of models.
--
-- usage:<owner>  hash  "requests", "prompt" and "completion" (tokens), each followed by a colon and the model; seen: how many
--                      requests there were when lib/retention last looked
local meter = {}

local FIELDS = 768

-- What is to be counted at the end of this run, by owner and model: {requests, prompt, completion}.
local sums = {}

calls.begin_with(function()
  sums = next(sums) and {} or sums
end)

-- Of models past the first 256 all count as one.
local function write(owner, model, sum)
  local of, name = key('usage', owner), ':' .. model
  local there = record.ask('HLEN', of)
  if there == 0 then
    retention.watch_usage(owner)
  end
  if there >= FIELDS and redis.call('HEXISTS', of, 'requests' .. name) == 0 then
    name = ':'
  end
  -- A count that can't be read is worth less than the end of the request.
  redis.pcall('HINCRBY', of, 'requests' .. name, int(sum.requests))
  redis.pcall('HINCRBY', of, 'prompt' .. name, int(sum.prompt))
  redis.pcall('HINCRBY', of, 'completion' .. name, int(sum.completion))
end

local function write_all()
  local owner, of_models = next(sums)
  if owner then
    behind.put(write_all)
    sums[owner] = nil
    for model, sum in pairs(of_models) do
      write(owner, model, sum)
    end
  end
end

-- Counts an answered request, once all that the run says of it is taken in: nothing takes back what was counted.
function meter.count(j, usage)
  local owner = j.owner or ''
  local of_models = sums[owner] or {}
  local sum = of_models[j.model] or { requests = 0, prompt = 0, completion = 0 }
  sums[owner], of_models[j.model] = of_models, sum
  sum.requests = sum.requests + 1
  sum.prompt = sum.prompt + (usage.prompt_tokens or 0)
  sum.completion = sum.completion + (usage.completion_tokens or 0)
  behind.put(write_all)
end

return meter
