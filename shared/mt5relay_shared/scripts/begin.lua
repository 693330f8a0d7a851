-- Mark what goes onto the terminal now, so that a crash is charged to it alone, and fetch the
-- account's sealed credential on the same way.
--
-- KEYS  1 lease   2 running   3 accounts
-- ARGV  1 lease value   2 account   3 ids of the requests, separated by spaces   4 expiry in ms
--
-- Answers  {'FENCED'}, or {'ok', sealed credential or false}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'FENCED'}
end
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
return {'ok', redis.call('HGET', KEYS[3], ARGV[2])}
