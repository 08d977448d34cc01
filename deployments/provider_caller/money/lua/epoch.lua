-- Begins a new epoch unless somebody else has. KEYS: epoch. ARGV: what stood there or '', what shall stand there.
-- Returns what stands there now.
local now = redis.call('GET', KEYS[1]) or ''
if now ~= ARGV[1] then return now end
redis.call('SET', KEYS[1], ARGV[2])
return ARGV[2]
