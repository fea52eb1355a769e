-- The functions of gcra.rs over all keys of a request at once. Numbers are whole microseconds: doubles hold them.
-- KEYS: each once. ARGV: what to do; the time, or "" for this server's; then interval, burst and cells of each key.
-- Answers: the time; the index of the first key that is spent, or -1; how long to wait for it; all states.
local what, now = ARGV[1], tonumber(ARGV[2])
if not now then
  local time = redis.call("TIME")
  now = time[1] * 1000000 + time[2]
end
local states, after = redis.call("MGET", unpack(KEYS)), {}
local spent, wait = -1, 0
for i = 1, #KEYS do
  local state = tonumber(states[i] or 0)
  local interval, burst, cells = tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1]), tonumber(ARGV[3 * i + 2])
  states[i] = state
  if what == "charge" then
    after[i] = math.max(state, now) + interval * cells
    local latest = now + interval * burst
    if after[i] > latest and spent < 0 then
      spent, wait = i - 1, after[i] - latest
    end
  elseif what == "give-back" then
    after[i] = math.max(state - interval * cells, 0)
  end
end
if spent < 0 and what ~= "peek" then
  for i, key in ipairs(KEYS) do
    -- A state in the past says that all is left, as no state does; the seconds more are for a clock that is an argument.
    local life = math.max(math.ceil((after[i] - now) / 1000), 0) + 10000
    redis.call("SET", key, string.format("%.0f", after[i]), "PX", string.format("%.0f", life))
    states[i] = after[i]
  end
end
return { now, spent, wait, unpack(states) }
