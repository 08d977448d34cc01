-- Puts a counter right: `spent` as the ledger has it, `reserved` as the open holds have it.
--
-- KEYS: rebuilding, holds, counter. ARGV: token of the lock, spent, expiry ms.
-- Returns false when the lock is gone, else {spent before or '', reserved before or ''}.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return false end
local before = redis.call('HMGET', KEYS[3], 'spent', 'reserved')
local reserved = 0
for _, payload in ipairs(redis.call('HVALS', KEYS[2])) do
    local amount, names = string.match(payload, '^(%d+)\n([^\n]*)\n')
    if string.find(' ' .. names .. ' ', ' ' .. KEYS[3] .. ' ', 1, true) then reserved = reserved + tonumber(amount) end
end
redis.call('HSET', KEYS[3], 'spent', ARGV[2], 'reserved', string.format('%.0f', reserved))
redis.call('PEXPIREAT', KEYS[3], ARGV[3])
return {before[1] or '', before[2] or ''}
