-- Whether one more call may try a provider whose breaker is half-open.
-- KEYS: records of breakers. ARGV: the record's name, trials at a time, ms that one may take. Answers 1 or 0.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local raw = redis.call('HGET', KEYS[1], ARGV[1])
if not raw then return 1 end
local record = cjson.decode(raw)
if not record.open then return 1 end
if record.until_ms > now then return 0 end
local running = {}
for _, ends in ipairs(record.trials) do
    if ends > now then running[#running + 1] = ends end
end
if #running >= tonumber(ARGV[2]) then return 0 end
running[#running + 1] = now + tonumber(ARGV[3])
record.trials = running
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(record))
return 1
