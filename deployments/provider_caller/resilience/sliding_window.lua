-- Takes from several limits, all or none.
-- KEYS: a hash of bucket -> amount for each limit. ARGV, four for each key: limit, amount, window and bucket in ms.
-- Answers {0} where it was taken, else {1, ms until it would fit, index of the limit that waits longest}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function wait_for(key, limit, amount, window, bucket)
    local taken, sum = {}, 0
    local all = redis.call('HGETALL', key)
    for i = 1, #all, 2 do
        local ends = (tonumber(all[i]) + 1) * bucket + window
        if ends <= now then
            redis.call('HDEL', key, all[i])
        else
            taken[#taken + 1] = {ends, tonumber(all[i + 1])}
            sum = sum + all[i + 1]
        end
    end
    -- More than a whole window's worth goes alone, when nothing else is taken.
    local too_much = sum + math.min(amount, limit) - limit
    if too_much <= 0 then return 0 end
    table.sort(taken, function(a, b) return a[1] < b[1] end)
    for _, entry in ipairs(taken) do
        too_much = too_much - entry[2]
        if too_much <= 0 then return entry[1] - now end
    end
    return window
end

local longest, which = 0, 0
for i, key in ipairs(KEYS) do
    local a = (i - 1) * 4
    local wait = wait_for(key, tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4]))
    if wait > longest then longest, which = wait, i end
end
if longest > 0 then return {1, math.ceil(longest), which} end
for i, key in ipairs(KEYS) do
    local a = (i - 1) * 4
    local window, bucket = tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4])
    redis.call('HINCRBY', key, tostring(math.floor(now / bucket)), ARGV[a + 2])
    redis.call('PEXPIRE', key, window + bucket)
end
return {0}
