"""Decides what Redis does in one piece: its scripts run alone, and reach its disk and its replicas as a whole."""

# KEYS: the prefix with its colon. ARGV: the seconds for which ids are remembered, then the eight values of each record
# (`Prepared`). Returns 1 for each record that was appended, 0 for each event that was there.
APPEND = r"""
local prefix, life = KEYS[1], ARGV[1]
local log = prefix .. 'log'
local fresh = {}
for i = 2, #ARGV, 8 do
  local kind, time, text, event_id, user_id, article_id, seen, most = unpack(ARGV, i, i + 7)
  if kind == 'event' and not redis.call('SET', prefix .. 'id:' .. event_id, 1, 'NX', 'EX', life) then
    fresh[#fresh + 1] = 0
  else
    fresh[#fresh + 1] = 1
    local number = redis.call('INCR', prefix .. 'appended')
    redis.call('SET', prefix .. 'newest', redis.call('XADD', log, '*', 'number', number, 'record', text))
    if seen ~= '' then
      local key = prefix .. 'user:' .. seen .. ':' .. user_id
      redis.call('ZADD', key, time, event_id .. '\0' .. article_id)
      redis.call('ZREMRANGEBYRANK', key, 0, -1 - most)
    elseif kind == 'article' or kind == 'removal' then
      redis.call('HSET', prefix .. 'articles', article_id, text)
      redis.call('ZADD', prefix .. 'articles:order', number, article_id)
      redis.call('ZADD', prefix .. 'articles:time', time, article_id)
    elseif kind == 'forget' then
      for _, name in ipairs({'viewed', 'hidden', 'shown'}) do
        redis.call('DEL', prefix .. 'user:' .. name .. ':' .. user_id)
      end
    end
  end
end
return fresh
"""

# KEYS: the same. ARGV: a time, and how many articles at most. Returns how many older ones were dropped.
DROP_ARTICLES = r"""
local prefix = KEYS[1]
local old = redis.call('ZRANGEBYSCORE', prefix .. 'articles:time', '-inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])
for _, article_id in ipairs(old) do
  redis.call('HDEL', prefix .. 'articles', article_id)
  redis.call('ZREM', prefix .. 'articles:order', article_id)
  redis.call('ZREM', prefix .. 'articles:time', article_id)
end
return #old
"""
