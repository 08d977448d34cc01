-- What replicas know of providers, told and read in one step.
-- KEYS: records of breakers, pauses. ARGV: {reports, pauses} as JSON, window and bucket in ms, ms until a record is dropped.
-- Answers {records, pauses} as JSON; all times in it are ms from now.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local told = cjson.decode(ARGV[1])
local window, bucket, forget = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local function new_record()
    return {counts = {}, run = 0, open = false, until_ms = 0, trips = 0, since = now, trials = {}}
end

local function drop_trials(record, amount)
    for _ = 1, math.min(amount, #record.trials) do table.remove(record.trials, 1) end
end

local function age_of(name) return now - tonumber(name) * bucket end

local function apply(record, report)
    for name in pairs(record.counts) do
        if age_of(name) >= window + bucket then record.counts[name] = nil end
    end
    for _, count in ipairs(report.counts) do
        local name = tostring(math.floor((now - count[1]) / bucket))
        local sum = record.counts[name] or {0, 0}
        record.counts[name] = {sum[1] + count[2], sum[2] + count[3]}
    end
    record.run = report.fresh and report.run or record.run + report.run
    drop_trials(record, report.ended)
    if report.command == 'close' then
        local closed = new_record()
        closed.trials = record.trials
        if not record.open then closed.since = record.since end
        record = closed
    elseif report.command == 'open' and not (record.open and record.until_ms > now) then
        if not record.open then record.since = now end
        record.open, record.until_ms, record.trips = true, now + report.wait, report.trips
    end
    record.told = now
    return record
end

for name, report in pairs(told.reports) do
    local raw = redis.call('HGET', KEYS[1], name)
    if not raw and report.open then report.command = 'open' end
    local record = apply(raw and cjson.decode(raw) or new_record(), report)
    redis.call('HSET', KEYS[1], name, cjson.encode(record))
end
for name, pause in pairs(told.pauses) do
    local raw = redis.call('HGET', KEYS[2], name)
    if not raw or cjson.decode(raw).until_ms < now + pause.wait then
        redis.call('HSET', KEYS[2], name, cjson.encode({until_ms = now + pause.wait, reason = pause.reason}))
    end
end

local answer = {records = {}, pauses = {}}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
    local record = cjson.decode(all[i + 1])
    local counts = {}
    for name, sum in pairs(record.counts) do
        local age = age_of(name)
        if age < window + bucket then counts[#counts + 1] = {age, sum[1], sum[2]} end
    end
    -- A closed record stays for a while, so that a replica can tell one that was closed from one that was lost.
    local quiet = now - record.told
    if quiet > forget or (not record.open and record.run == 0 and #counts == 0 and quiet > window) then
        redis.call('HDEL', KEYS[1], all[i])
    else
        answer.records[all[i]] = {
            counts = counts, run = record.run, open = record.open, trips = record.trips,
            wait = record.until_ms - now, age = now - record.since,
        }
    end
end
all = redis.call('HGETALL', KEYS[2])
for i = 1, #all, 2 do
    local pause = cjson.decode(all[i + 1])
    if pause.until_ms <= now then
        redis.call('HDEL', KEYS[2], all[i])
    else
        answer.pauses[all[i]] = {wait = pause.until_ms - now, reason = pause.reason}
    end
end
return cjson.encode(answer)
