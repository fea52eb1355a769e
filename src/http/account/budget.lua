-- One budget for the calls of several replicas: so many a second, so many at a time. Numbers are whole microseconds.
-- KEYS: the rate's state, as in gcra.lua; the calls under way, each by the time its place ends by itself; the replicas
-- that wait, each by the time since when.
-- ARGV: the time, or "" for this server's; interval and burst of the rate; the most calls at a time; how long a place
-- lasts; the replica; how many cells it has not used; how many calls have ended; their ids; the ids of those that wait.
-- Answers: the time; how many of those that wait may go, the first of them; how long until the rate allows one more.
local now, interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local most, lease, replica = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local unused, ended = tonumber(ARGV[7]), tonumber(ARGV[8])
local first = 9 + ended
local wanted = #ARGV - first + 1
-- A replica that does not ask again within this has gone. It asks several times within it.
local gone = 200000
if not now then
  local time = redis.call("TIME")
  now = time[1] * 1000000 + time[2]
end
local function number(n)
  return string.format("%.0f", n)
end
local function bound(key, micros)
  redis.call("PEXPIRE", key, number(math.ceil(micros / 1000) + 10000))
end

for i = 9, first - 1 do
  redis.call("ZREM", KEYS[2], ARGV[i])
end
redis.call("ZREMRANGEBYSCORE", KEYS[2], "-inf", number(now))
redis.call("ZREMRANGEBYSCORE", KEYS[3], "-inf", number(now - gone))
local state = math.max(tonumber(redis.call("GET", KEYS[1]) or 0) - interval * unused, now)

-- Whoever has waited longer than this replica goes first: what is free for them is left to them.
local before = redis.call("ZRANK", KEYS[3], replica) or redis.call("ZCARD", KEYS[3])
local cells = math.floor((now + interval * burst - state) / interval) - before
local places = most - redis.call("ZCARD", KEYS[2]) - before
local granted = math.max(math.min(wanted, cells, places), 0)

if granted > 0 then
  for i = first, first + granted - 1 do
    redis.call("ZADD", KEYS[2], number(now + lease), ARGV[i])
  end
  bound(KEYS[2], lease)
end
state = state + interval * granted
if granted > 0 or unused > 0 then
  redis.call("SET", KEYS[1], number(state), "PX", number(math.ceil((state - now) / 1000) + 10000))
end
if granted == wanted then
  redis.call("ZREM", KEYS[3], replica)
elseif granted > 0 then
  redis.call("ZADD", KEYS[3], number(now), replica)
else
  redis.call("ZADD", KEYS[3], "NX", number(now), replica)
end
if granted < wanted then
  bound(KEYS[3], gone)
end
return { now, granted, math.max(state + interval * (before + 1) - now - interval * burst, 0) }
