-- Settles a batch of one tenant: what was held is given back, what was used is spent. Atomic; a batch that was settled is
-- not settled again, since a client repeats what a broken connection did not answer.
--
-- KEYS: holds, deadlines, rebuilding, mark of the batch, counters..., rates..., slots...
-- ARGV: number of counters, of rates; for each counter two thresholds; for each rate its interval ms;
--       then entries to the end: hold id or '', kind, charge, n, n counter numbers, token units, n, n rate numbers,
--       lease id or '', n, n slot numbers.
-- Kinds: 'add' charges in any case, 'settle' only where the hold is open, 'free' charges nothing.
-- Returns false while counters are rebuilt; else which thresholds were crossed: {counter number, 1 or 2, ...}.
if redis.call('EXISTS', KEYS[3]) == 1 then return false end
if not redis.call('SET', KEYS[4], '1', 'NX', 'EX', 600) then return {} end
local counters, rates = tonumber(ARGV[1]), tonumber(ARGV[2])
local spent, units, given_back = {}, {}, {}
local at = 3 + 2 * counters + rates

local function close(hold)
    local payload = redis.call('HGET', KEYS[1], hold)
    if not payload then return false end
    redis.call('HDEL', KEYS[1], hold)
    redis.call('ZREM', KEYS[2], hold)
    local amount, names = string.match(payload, '^(%d+)\n([^\n]*)\n')
    for name in string.gmatch(names, '%S+') do
        given_back[name] = (given_back[name] or 0) + tonumber(amount)
    end
    return true
end
local function numbers(total, amount)
    local n = tonumber(ARGV[at])
    if amount ~= 0 then
        for i = 1, n do
            local number = tonumber(ARGV[at + i])
            total[number] = (total[number] or 0) + amount
        end
    end
    at = at + n + 1
end

while ARGV[at] do
    local hold, kind, charge = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
    local open = hold ~= '' and close(hold)
    at = at + 3
    numbers(spent, (kind == 'add' or (kind == 'settle' and open)) and charge or 0)
    local tokens = tonumber(ARGV[at])
    at = at + 1
    numbers(units, tokens)
    local lease, n = ARGV[at], tonumber(ARGV[at + 1])
    for i = 1, n do redis.call('ZREM', KEYS[4 + counters + rates + tonumber(ARGV[at + 1 + i])], lease) end
    at = at + 2 + n
end

for name, amount in pairs(given_back) do
    if amount > 0 and redis.call('EXISTS', name) == 1 then
        redis.call('HINCRBY', name, 'reserved', string.format('%.0f', -amount))
    end
end
local crossed = {}
for number, amount in pairs(spent) do
    local key = KEYS[4 + number]
    if redis.call('HEXISTS', key, 'spent') == 1 then
        local after = redis.call('HINCRBY', key, 'spent', string.format('%.0f', amount))
        for threshold = 1, 2 do
            local limit = tonumber(ARGV[2 + 2 * (number - 1) + threshold])
            if after - amount < limit and after >= limit then
                crossed[#crossed + 1] = number
                crossed[#crossed + 1] = threshold
            end
        end
    end
end
local clock = now_ms()
for number, tokens in pairs(units) do
    local key = KEYS[4 + counters + number]
    local tat = math.max(tonumber(redis.call('GET', key) or '0'), clock)
    tat = tat + tokens * tonumber(ARGV[2 + 2 * counters + number])
    if tat > clock then gcra_keep(key, tat, clock) else redis.call('DEL', key) end
end
return crossed
