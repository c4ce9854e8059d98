--[[ credentials/spend: takes requests and bytes of their bodies from what an API key may spend, both or neither.

  KEYS[1]  spent     string   titan:api-key-spent:<id>, packed: a time, and how long from then until each quota
                             is whole again, in milliseconds
  KEYS[2]  spent     string   the same key again
  ARGV[1]  requests  integer  to take
  ARGV[2]  more      integer  requests to take in advance, as far as there are any
  ARGV[3]  quota     integer  requests in a window
  ARGV[4]  window    integer  milliseconds
  ARGV[5]  bytes     integer  to take; no more than the quota is asked for
  ARGV[6]  more      integer  bytes to take in advance, as far as there are any
  ARGV[7]  quota     integer  bytes in a window
  ARGV[8]  window    integer  milliseconds
  ARGV[9]  now_ms    integer, or "" for Redis TIME (tests pass their own)

  Returns  {"spent", more, left, whole_ms, more, left, whole_ms}: what was taken in advance, what is left, and how long
           until the quota is whole again | {"refused", policy, wait_ms}: 1 for requests, 2 for bytes, and how long
           until there is enough
  Uses     lib/clock                                  Cost  O(1)
]]
local STEP_MS = 1000
-- Sums of fractions may come out a little too large.
local SLACK_MS = 0.001
local now = clock.read(ARGV[9])
local packed = redis.call('GET', KEYS[1])
local before = packed and cmsgpack.unpack(packed)
-- After a step back of the clock, what was spent on the old one would stand in the way for too long.
if not before or before[1] > now + STEP_MS then
  before = { now, 0, 0 }
end
local passed = math.max(now - before[1], 0)
local after, taken = { now }, {}
local lack

-- A quota fills up evenly, so all that has to be kept is how long it takes until it is whole.
local function take(policy, cost, more, quota, window)
  local each = window / quota
  local before_in = math.min(math.max(before[policy + 1] - passed, 0), window)
  local whole_in = before_in + math.min(cost, quota) * each
  if whole_in > window + SLACK_MS then
    lack = lack or { policy, math.ceil(whole_in - window) }
    return
  end
  local ahead = math.min(more, math.floor((window - whole_in + SLACK_MS) / each))
  whole_in = whole_in + ahead * each
  after[policy + 1] = whole_in
  taken[policy] = { ahead, math.floor((window - whole_in + SLACK_MS) / each), math.ceil(whole_in) }
end

take(1, tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]))
take(2, tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]))
if lack then
  return { 'refused', lack[1], lack[2] }
end
redis.call('SET', KEYS[1], cmsgpack.pack(after), 'PX', math.max(taken[1][3], taken[2][3], 1))
return { 'spent', taken[1][1], taken[1][2], taken[1][3], taken[2][1], taken[2][2], taken[2][3] }
