-- idempotency: one job for an idempotency key and body, for as long as the job is kept.
--
-- idem:<hash of owner, key and index>  string  the job's id, a space, and the hash of the body
local idempotency = {}

-- The job that was submitted with this key before; 'reused' if that was with another body; nil if there is none.
function idempotency.find(options)
  local known = options.idem and redis.call('GET', key('idem', options.idem.key))
  if not known then
    return nil
  end
  local id, body = string.match(known, '^(%S+) (%S+)$')
  if body ~= options.idem.body then
    return 'reused'
  end
  return job:need(id)
end

-- Remembers the key of a new job.
function idempotency.note(j, options)
  if options.idem then
    redis.call('SET', key('idem', options.idem.key), j.id .. ' ' .. options.idem.body)
  end
end

return idempotency
