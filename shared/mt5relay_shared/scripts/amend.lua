-- Change the registry of terminals, unless somebody else has changed it since it was read.
--
-- KEYS  1 version   2 terminals   3 pins
-- ARGV  1 the version that was read, 0 for none
--       then three for each change: 2 or 3 for the key, the field, its value or '' to remove it
--
-- Answers  {'ok', version} or {'conflict', version}
--
-- The version is the server's time in ms where that is higher, so that a registry which was lost
-- and made anew never repeats a version that a client has seen.
local version = tonumber(redis.call('GET', KEYS[1])) or 0
if version ~= tonumber(ARGV[1]) then
  return {'conflict', version}
end
for i = 2, #ARGV, 3 do
  local key = KEYS[tonumber(ARGV[i])]
  if ARGV[i + 2] == '' then
    redis.call('HDEL', key, ARGV[i + 1])
  else
    redis.call('HSET', key, ARGV[i + 1], ARGV[i + 2])
  end
end
local time = redis.call('TIME')
version = math.max(version + 1, time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('SET', KEYS[1], string.format('%.0f', version))
return {'ok', version}
