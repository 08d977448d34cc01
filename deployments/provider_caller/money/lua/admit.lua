-- Admits one call, or reserves for one more attempt of it: all of it or nothing. A hold that is there already is
-- admitted again and reserves nothing more: a client repeats what a broken connection did not answer.
--
-- KEYS: holds, deadlines, counters..., rates..., slots...
-- ARGV: now ms, hold id, expiry ms, amount, payload, lease id, number of counters, of rates, of slots;
--       for each counter its budget and 'hard' or 'alert'; for each rate cost, interval ms, burst; for each slot its cap.
-- Returns {'ok', numbers of alert counters to be made ',' separated, remaining and reset ms of each rate...},
--   {'unknown'}: a hard budget's counter is missing;
--   {'slot', number}, {'rate', number, wait ms}, {'budget', number, spent, reserved}: what refuses.
local now, hold, expiry, amount = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
local counters, rates, slots = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local rate_arg = 9 + 2 * counters
local slot_arg = rate_arg + 3 * rates
local cost = tonumber(amount)

local missing, refused = {}, nil
local again = counters > 0 and redis.call('HEXISTS', KEYS[1], hold) == 1
for i = 1, counters do
    local state = redis.call('HMGET', KEYS[2 + i], 'spent', 'reserved')
    local hard = ARGV[9 + 2 * i] == 'hard'
    if not state[1] then
        if hard then return {'unknown'} end
        missing[#missing + 1] = i
    elseif hard and not refused and not again then
        local spent, reserved = tonumber(state[1]), tonumber(state[2] or '0')
        if spent + reserved + cost > tonumber(ARGV[8 + 2 * i]) then
            refused = {'budget', i, state[1], state[2] or '0'}
        end
    end
end
for i = 1, slots do
    local key = KEYS[2 + counters + rates + i]
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    if not again and redis.call('ZCARD', key) >= tonumber(ARGV[slot_arg + i]) then return {'slot', i} end
end
local clock, tats, longest, slowest = now_ms(), {}, 0, 0
for i = 1, rates do
    local at = rate_arg + 3 * (i - 1)
    local wait, tat = gcra(KEYS[2 + counters + i], again and 0 or tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]),
        tonumber(ARGV[at + 3]), clock)
    tats[i] = tat
    if wait > longest then longest, slowest = wait, i end
end
if longest > 0 then return {'rate', slowest, string.format('%.3f', longest)} end
if refused then return refused end

local answer = {'ok', table.concat(missing, ',')}
for i = 1, rates do
    local at = rate_arg + 3 * (i - 1)
    local interval, burst = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
    gcra_keep(KEYS[2 + counters + i], tats[i], clock)
    local ahead = tats[i] - clock
    answer[#answer + 1] = string.format('%d', math.max(0, math.floor(burst - ahead / interval + 1e-6)))
    answer[#answer + 1] = string.format('%d', math.ceil(ahead))
end
for i = 1, slots do
    redis.call('ZADD', KEYS[2 + counters + rates + i], expiry, ARGV[6])
end
if counters > 0 and not again then
    redis.call('HSET', KEYS[1], hold, ARGV[5])
    redis.call('ZADD', KEYS[2], expiry, hold)
    if amount ~= '0' then
        for i = 1, counters do redis.call('HINCRBY', KEYS[2 + i], 'reserved', amount) end
    end
end
return answer
