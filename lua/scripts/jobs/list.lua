--[[ jobs/list: a page of jobs, newest first.

  KEYS[1]  pool     hash     titan:{pool}           always exists; the prefix of all keys built below
  KEYS[2]  absent   none     titan:{pool}:absent    never exists; makes a moving slot answer TRYAGAIN
  ARGV[1]  state    string   only jobs in this state, or ""
  ARGV[2]  agent    string   only jobs of this agent, or ""
  ARGV[3]  label    string   only jobs with this label, JSON [name, value], or ""
  ARGV[4]  after    string   where the page before ended, or ""
  ARGV[5]  limit    integer  1..500
  ARGV[6]  now_ms   integer, or "" for Redis TIME (tests pass their own)

  Returns  {"jobs", the last job looked at or "" if none follow,
           {id, kind, state, agent, attempt, priority, created, started, ended, exit, reason, title, labels}…}
           | {"no_pool"} | {"newer_schema"}
  Uses     lib/calls lib/key lib/clock lib/pool lib/record lib/job          Cost  O(500)
]]
local LOOKED_AT = 500
local CHUNK = 250

local refused = pool.enter(ARGV[6])
if refused then
  return refused
end
local limit, looked, page = tonumber(ARGV[5]), 0, {}
local last = ARGV[4]

local function has_label(j)
  return string.find('\n' .. (j.labels or '') .. '\n', '\n' .. ARGV[3] .. '\n', 1, true) ~= nil
end

local function matches(j)
  return (ARGV[1] == '' or j.state == ARGV[1]) and (ARGV[2] == '' or j.agent == ARGV[2])
    and (ARGV[3] == '' or has_label(j))
end

local function view(j)
  return { j.id, j.kind, j.state, j.agent or '', j.attempt, j.prio, j.created, j.started or '', j.ended or '',
    j.exit or '', j.reason or '', j.title, j.labels or '' }
end

while looked < LOOKED_AT do
  local to = last == '' and '+' or '(' .. last
  local ids = redis.call('ZREVRANGEBYLEX', key('jobs'), to, '-', 'LIMIT', 0, CHUNK)
  for _, id in ipairs(ids) do
    if #page == limit then
      return { 'jobs', last, unpack(page) }
    end
    local j = job:load(id)
    if j and matches(j) then
      page[#page + 1] = view(j)
    end
    last, looked = id, looked + 1
  end
  if #ids < CHUNK then
    return { 'jobs', '', unpack(page) }
  end
end
return { 'jobs', last, unpack(page) }
