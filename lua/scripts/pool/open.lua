--[[ pool/open: makes the pool's hash if it is not there, or raises the number of its schema, from which on older versions
     of the program leave it alone; and writes the settings that scripts need.

  KEYS[1]  pool        hash     titan:{pool}           the prefix of all keys built below
  KEYS[2]  absent      none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  interval    integer  milliseconds from one heartbeat to the next
  ARGV[2]  timeout     integer  milliseconds that a heartbeat may be late
  ARGV[3]  lease       integer  milliseconds that a lease lasts
  ARGV[4]  grace       integer  milliseconds that processes may outlast their lease
  ARGV[5]  claim       integer  milliseconds that a bound job waits for its claim
  ARGV[6]  agent_keep  integer  milliseconds that an offline agent is remembered
  ARGV[7]  job_keep    integer  milliseconds that an ended job is remembered
  ARGV[8]  job_max     integer  ended jobs that are remembered
  ARGV[9]  output_max  integer  bytes of output that are kept
  ARGV[10] prompt_max  integer  bytes of prompts that are held
  ARGV[11] publish     string   PUBLISH or SPUBLISH
  ARGV[12] now_ms      integer, or "" for Redis TIME (tests pass their own)

  Returns  {"opened"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/clock lib/pool          Cost  O(1)
]]
local schema = redis.call('HGET', KEYS[1], 'schema')
if schema and pool.is_newer(schema) then
  return { 'newer_schema' }
end
if not schema then
  local now = clock.read(ARGV[12])
  -- Events are numbered from the time on: whoever read some before the store came back empty is then told that it lost its
  -- place, instead of taking new events for those that it knows.
  redis.call('HSET', KEYS[1], 'schema', pool.SCHEMA, 'clock', cmsgpack.pack(now, now, 0, 0, 0, 0, 0, now, 0), 'profile',
    'balanced', 'version', 1, 'weights', cmsgpack.pack(0.4, 0.3, 0.2, 0.1))
elseif pool.is_older(schema) then
  redis.call('HSET', KEYS[1], 'schema', pool.SCHEMA)
end
local settings = {}
for i = 1, 7 do
  settings[i] = tonumber(ARGV[i])
end
settings[8], settings[9], settings[10], settings[11] = ARGV[11], tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
redis.call('HSET', KEYS[1], 'settings', cmsgpack.pack(unpack(settings)))
return { 'opened' }
