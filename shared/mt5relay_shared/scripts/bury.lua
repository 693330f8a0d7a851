-- Put an entry into the dead-letter stream, answer it with its error, and take it off the queue.
--
-- KEYS  1 lease   2 requests   3 dead   4 request:<id>   5 reply:<id>   6 shares
-- ARGV  1 lease value   2 consumer group   3 entry id   4 request as it came   5 why, as JSON
--       6 how often it was delivered   7 about how many dead letters to keep
--       8 request id or '' where none could be read   9 error reply as JSON, or ''
--       10 reply stream or ''   11 expiry of the reply in ms
--
-- Answers  {'FENCED'}, {'ok'}, or {'gone'} when the entry was no longer pending
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'FENCED'}
end
if redis.call('XACK', KEYS[2], ARGV[2], ARGV[3]) == 0 then
  return {'gone'}
end
if redis.call('XDEL', KEYS[2], ARGV[3]) == 1 and redis.call('HINCRBY', KEYS[6], ARGV[10], -1) < 1 then
  redis.call('HDEL', KEYS[6], ARGV[10])
end
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[7], '*', 'entry', ARGV[3], 'request', ARGV[4],
  'error', ARGV[5], 'deliveries', ARGV[6])
local function is_answered_now() -- as in complete: a key of another type holds no reply
  if redis.call('SET', KEYS[5], ARGV[9], 'NX', 'PX', ARGV[11]) then
    return true
  end
  if type(redis.pcall('GET', KEYS[5])) ~= 'table' then
    return false
  end
  redis.call('SET', KEYS[5], ARGV[9], 'PX', ARGV[11])
  return true
end

if ARGV[8] ~= '' and is_answered_now() then
  local targets = {}
  local reply_streams = string.sub(KEYS[1], 1, -#'lease' - 1) .. 'replies:' -- as in complete
  if ARGV[10] ~= '' then
    targets[ARGV[10]] = true
  end
  local fields = redis.pcall('HKEYS', KEYS[4])
  for _, field in ipairs(fields.err and {} or fields) do
    if string.sub(field, 1, 3 + #reply_streams) == 'to:' .. reply_streams then
      targets[string.sub(field, 4)] = true
    end
  end
  for stream in pairs(targets) do
    redis.pcall('XADD', stream, 'NOMKSTREAM', 'MAXLEN', '~', 10000, '*', ARGV[8], ARGV[9])
  end
  local fingerprint = not fields.err and redis.call('HGET', KEYS[4], 'fingerprint')
  redis.call('DEL', KEYS[4])
  if fingerprint then -- as in complete: the id keeps meaning the same question
    redis.call('HSET', KEYS[4], 'fingerprint', fingerprint)
    redis.call('PEXPIRE', KEYS[4], ARGV[11])
  end
end
return {'ok'}
