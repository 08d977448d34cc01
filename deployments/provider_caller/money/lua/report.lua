-- Writes open holds again after Redis has lost its data. Those that are there stay as they are.
--
-- KEYS: holds, deadlines. ARGV: id, payload, expiry ms of each hold.
for i = 1, #ARGV, 3 do
    if redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1]) == 1 then
        redis.call('ZADD', KEYS[2], ARGV[i + 2], ARGV[i])
        local amount, names = string.match(ARGV[i + 1], '^(%d+)\n([^\n]*)\n')
        if amount ~= '0' then
            for name in string.gmatch(names, '%S+') do redis.call('HINCRBY', name, 'reserved', amount) end
        end
    end
end
