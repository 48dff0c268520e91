#!lua name=cx_alerts_1
--[[
Delivery of alerts to Redis: every write to the keys below goes through this library, loaded with FUNCTION LOAD REPLACE.
The number at the end of each name is the version of the promise to callers: an incompatible change gets new names. A publisher
loads its own library at its start, and again where a function is missing: that is how two versions share a server during an
update, each loading in turn. Commands of Redis 7.0 only. Keys (`cx:` is the setting `redis_prefix`):

  cx:alerts         stream  one entry per alert transition, in the order of each source partition. Field `alert`: the record as
                            JSON (schemas/alert.schema.json), with `published_at`. Bounded by length (MAXLEN ~) and age (MINID ~).
  cx:alerts:active  hash    fingerprint -> the record of the last transition, for what is firing now. Set by firing and amended,
                            removed by resolved and retracted, and when the record's `expires_at` has passed. With `held` true:
                            a storm kept its transitions out of the stream.
  cx:alerts:expiry  zset    fingerprint -> `expires_at` in ms since the epoch: finds what has expired without a scan.
  cx:alerts:applied hash    "<Kafka topic id>/<partition>" -> offset of the last record applied. What is at or below it is ignored,
                            so a record sent again (lost reply, restart, reset group, two owners) is delivered once. A topic that
                            was created again has another id and starts anew.
  cx:alerts:outcomes     hash  episode_id -> what was said of it, JSON: `rule`, `severity`, `fingerprint`, `fired_ms` (absent if not known),
                            `acknowledged_by`, `acknowledged_ms` (the first time), `outcome` (saved, lost, false-alarm; absent until
                            judged), `judged_by`, `judged_ms`, `note`. Times in ms since the epoch. Only here, not in Kafka.
  cx:alerts:outcomes:age zset  episode_id -> ms of the last word on it: finds what is too old or too much.
  cx:alerts:storms  hash    rule id -> what it has fired lately, JSON: `span` (detected_at divided by the span's length `span_ms`), `count` of
                            firings in it, `at` (ms of the last one's delivery), `summary` (the record that tells of the storm, while
                            there is one), `held`, `told`; `n` for earlier versions.
  cx:alerts:wake    channel a hint that new entries are in the stream; the message is the id of the last one. At most once.

A call is atomic: nothing else runs in between, and whatever can be refused (types, permissions, memory) is refused before the
first write. Flags are none, so Redis itself refuses a call on a read-only replica or above maxmemory as a whole.
]]

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- A write in the middle of a call that fails would leave half a call behind: ask beforehand.
local function refused(commands)
  for _, command in ipairs(commands) do
    if not redis.acl_check_cmd(unpack(command)) then
      return redis.error_reply('NOPERM this user may not run ' .. command[1] .. ' on ' .. command[2])
    end
  end
  return nil
end

local function keep(active, expiry, fingerprint, expires_ms, record)
  redis.call('HSET', active, fingerprint, record)
  redis.call('ZADD', expiry, expires_ms, fingerprint)
end

local function drop(active, expiry, fingerprint)
  redis.call('ZREM', expiry, fingerprint)
  return redis.call('HDEL', active, fingerprint)
end

-- A bounded number per call: a call must not hold up the server. The rest goes with the next one.
local function drop_expired(active, expiry)
  local expired = redis.call('ZRANGEBYSCORE', expiry, '-inf', now_ms(), 'LIMIT', 0, 1000)
  for _, fingerprint in ipairs(expired) do
    drop(active, expiry, fingerprint)
  end
  return #expired
end

local HELD = ',"held":true}'

local function is_held(active, fingerprint)
  local known = redis.call('HGET', active, fingerprint)
  return known and string.sub(known, -#HELD) == HELD
end

local function as_held(record)
  return string.sub(record, 1, -2) .. HELD
end

local function id_of(...)
  return string.sub(redis.sha1hex(table.concat({...}, '/')), 1, 16)
end

--[[ The record that tells of a storm, as another transition of it. `now` is `published_at`. ]]
local function tell_of_storm(stream, most, storm, summary, state, why, now)
  storm.told = storm.told + 1
  summary.state, summary.why, summary.published_at = state, why, now
  summary.alert_id = id_of(summary.episode_id, storm.told)
  summary.metric = {name = 'alerts', value = storm.held, k = storm.held, n = storm.held}
  local record = cjson.encode(summary)
  return record, redis.call('XADD', stream, 'MAXLEN', '~', most, '*', 'alert', record)
end

local function begin_storm(stream, most, active, expiry, rule, storm, record, limit, span_ms, expires_ms, now)
  local cause = cjson.decode(record)
  storm.held, storm.told = 1, 0
  local fingerprint = id_of('storm', rule)
  local summary = {
    episode_id = id_of(fingerprint, cause.alert_id), fingerprint = fingerprint, schema_version = cause.schema_version,
    severity = cause.severity, rule = cause.rule, owner_team = cause.owner_team, runbook = 'docs/runbooks/alert-storm.md',
    event_time = cause.event_time, detected_at = cause.detected_at, expires_at = cause.expires_at,
    suggested_action = 'Look for one cause behind all of them; the active set has every single one',
  }
  local why = string.format(
    'Rule %s has fired more than %d times within %d s: what it fires beyond that is in the active set, but is not told one by one.',
    rule, limit, span_ms / 1000)
  local record_of_storm, id = tell_of_storm(stream, most, storm, summary, 'firing', why, now)
  storm.summary = summary
  keep(active, expiry, fingerprint, expires_ms, record_of_storm)
  return id
end

local function end_storm(stream, most, active, expiry, rule, storm, now)
  local why = string.format('Rule %s fires less again; %d alerts were not told one by one.', rule, storm.held)
  local _, id = tell_of_storm(stream, most, storm, storm.summary, 'resolved', why, now)
  drop(active, expiry, storm.summary.fingerprint)
  storm.summary = nil
  return id
end

-- What was counted in spans of another length, or by a clock that was ahead, would be taken for now until that time has come.
local function is_of_another_time(storm, span_ms, span_now)
  return (storm.span_ms and storm.span_ms ~= span_ms) or storm.span > span_now + 1
end

--[[ Count a firing. Gives whether a storm holds it back, and the id of the last entry told of the storm, if any. ]]
local function count_firing(keys, rule, detected_ms, record, expires_ms, most, limit, span_ms, now)
  local stream, active, expiry, _, storms = unpack(keys)
  local stored = redis.call('HGET', storms, rule)
  local storm = stored and cjson.decode(stored) or {span = 0, span_ms = span_ms, count = 0, n = 0, held = 0, told = 0}
  local span_now = math.floor(now_ms() / span_ms)
  local span, id = math.min(math.floor(detected_ms / span_ms), span_now + 1), nil
  local anew = is_of_another_time(storm, span_ms, span_now)
  if anew or span > storm.span then
    if storm.summary and (anew or span > storm.span + 1 or storm.count <= limit) then
      id = end_storm(stream, most, active, expiry, rule, storm, now)
    end
    storm.span, storm.span_ms, storm.count = span, span_ms, 0
  end
  storm.count, storm.at = storm.count + 1, now_ms()
  local over = storm.count > limit
  if over and storm.summary then
    storm.held = storm.held + 1
  elseif over then
    id = begin_storm(stream, most, active, expiry, rule, storm, record, limit, span_ms, expires_ms, now)
  end
  redis.call('HSET', storms, rule, cjson.encode(storm))
  return over, id
end

--[[ Append the transitions of one source partition to the stream and bring the active set up to date.
KEYS  stream, active, expiry, applied, storms
ARGV  channel; field of `applied`; offset up to which the caller believes all is applied; offset up to which this call goes;
      most entries of the stream; their greatest age in ms; most firings of one rule that are told one by one within a span, 0 for
      all; the span's length in ms; now, as `published_at`; then for each alert, ascending:
      offset, fingerprint, state, expires_at in ms, record, rule id, detected_at in ms
Reply {'OK', applied before, alerts delivered now, of these held back by a storm}, or, with nothing written:
      {'UNKNOWN'} no offset is known for the field: Redis lost its data, restore first;
      {'BEHIND', applied} Redis lost the latest writes: deliver again from there. ]]
local function apply(keys, args)
  local stream, active, expiry, applied, storms = unpack(keys)
  local channel, field, after, upto = args[1], args[2], tonumber(args[3]), tonumber(args[4])
  redis.call('XLEN', stream) -- these four raise WRONGTYPE before anything is written
  redis.call('HLEN', active)
  redis.call('ZCARD', expiry)
  redis.call('HLEN', storms)
  local stored = redis.call('HGET', applied, field)
  if not stored then
    return {'UNKNOWN'}
  end
  stored = tonumber(stored)
  if stored < after then
    return {'BEHIND', stored}
  end
  if upto <= stored then
    return {'OK', stored, 0, 0}
  end
  local problem = refused({
    {'XADD', stream, '*', 'alert', ''}, {'XTRIM', stream, 'MINID', '~', '0'}, {'HSET', active, '', ''}, {'HDEL', active, ''},
    {'ZADD', expiry, '0', ''}, {'ZREM', expiry, ''}, {'HSET', applied, field, '0'}, {'PUBLISH', channel, ''},
    {'HSET', storms, '', ''},
  })
  if problem then
    return problem
  end
  local limit, span_ms = tonumber(args[7]), tonumber(args[8])

  local last, delivered, held_back = nil, 0, 0
  for i = 10, #args, 7 do
    if tonumber(args[i]) > stored then
      local fingerprint, state, expires_ms, record = args[i + 1], args[i + 2], args[i + 3], args[i + 4]
      local held, id = false, nil
      if limit > 0 and state == 'firing' then
        held, id = count_firing(keys, args[i + 5], tonumber(args[i + 6]), record, expires_ms, args[5], limit, span_ms, args[9])
      else
        held = is_held(active, fingerprint)
      end
      if held then
        record = as_held(record)
        held_back = held_back + 1
      else
        id = redis.call('XADD', stream, 'MAXLEN', '~', args[5], '*', 'alert', record)
      end
      last = id or last
      delivered = delivered + 1
      if state == 'firing' or state == 'amended' then
        keep(active, expiry, fingerprint, expires_ms, record)
      else
        drop(active, expiry, fingerprint)
      end
    end
  end
  redis.call('HSET', applied, field, args[4])
  redis.call('XTRIM', stream, 'MINID', '~', string.format('%.0f', now_ms() - tonumber(args[6])))
  drop_expired(active, expiry)
  if last then
    redis.call('PUBLISH', channel, last)
  end
  return {'OK', stored, delivered, held_back}
end

--[[ Put part of a rebuilt active set in place, without touching the stream. What a storm holds back stays held.
KEYS  active, expiry, applied
ARGV  field of `applied`; the offset that must be stored there, '' for none; the offset to store, '' to leave it; then for each
      fingerprint: fingerprint, '1' if active else '0', expires_at in ms, record
Reply {'OK'}, or {'MOVED', applied} with nothing written: somebody else delivered meanwhile. ]]
local function restore(keys, args)
  local active, expiry, applied = unpack(keys)
  redis.call('HLEN', active)
  redis.call('ZCARD', expiry)
  local stored = redis.call('HGET', applied, args[1]) or ''
  if stored ~= args[2] then
    return {'MOVED', stored}
  end
  local problem = refused({
    {'HGET', active, ''}, {'HSET', active, '', ''}, {'HDEL', active, ''}, {'ZADD', expiry, '0', ''}, {'ZREM', expiry, ''},
    {'HSET', applied, args[1], '0'},
  })
  if problem then
    return problem
  end
  for i = 4, #args, 4 do
    if args[i + 1] == '1' then
      local record = args[i + 3]
      keep(active, expiry, args[i], args[i + 2], is_held(active, args[i]) and as_held(record) or record)
    else
      drop(active, expiry, args[i])
    end
  end
  if args[3] ~= '' then
    redis.call('HSET', applied, args[1], args[3])
  end
  return {'OK'}
end

--[[ Remove entries of the active set that are still exactly as the caller saw them.
KEYS  active, expiry
ARGV  for each: fingerprint, record
Reply how many were removed. ]]
local function forget(keys, args)
  local active, expiry = unpack(keys)
  redis.call('ZCARD', expiry)
  local removed = 0
  for i = 1, #args, 2 do
    if redis.call('HGET', active, args[i]) == args[i + 1] then
      removed = removed + drop(active, expiry, args[i])
    end
  end
  return removed
end

-- Whether nothing has gone on with a storm for a whole span, neither by when it was detected nor by when it came: a publisher that catches
-- up delivers what was detected long ago. Or whether nothing counts it any more.
local function is_over(storm, span_ms)
  local span_now = math.floor(now_ms() / span_ms)
  return span_ms == 0 or is_of_another_time(storm, span_ms, span_now)
    or (span_now > storm.span + 1 and now_ms() - (storm.at or 0) > span_ms)
end

--[[ Remove what has expired, at most 1,000 entries, and end the storms that are over.
KEYS  active, expiry, stream, storms
ARGV  most entries of the stream; the span's length in ms, 0 if nothing is counted; now, as `published_at`
Reply how many were removed. ]]
local function sweep(keys, args)
  local active, expiry, stream, storms = unpack(keys)
  redis.call('HLEN', active)
  local span_ms = tonumber(args[2])
  local found = redis.call('HGETALL', storms)
  for i = 1, #found, 2 do
    local storm = cjson.decode(found[i + 1])
    if storm.summary and is_over(storm, span_ms) then
      end_storm(stream, args[1], active, expiry, found[i], storm, args[3])
      redis.call('HSET', storms, found[i], cjson.encode(storm))
    end
  end
  return drop_expired(active, expiry)
end

--[[ Acknowledge an episode and, with an outcome, judge it. Saying the same again changes nothing; another outcome replaces the first.
KEYS  outcomes, outcomes:age
ARGV  episode id; by whom; outcome, '' for none yet; note, '' for none; what the caller knows of the episode, as a JSON object that is
      taken over the first time; greatest age in ms; most entries
Reply the record. ]]
local function acknowledge(keys, args)
  local outcomes, age = unpack(keys)
  local episode, by, outcome, note = args[1], args[2], args[3], args[4]
  redis.call('HLEN', outcomes)
  redis.call('ZCARD', age)
  local problem = refused({
    {'HSET', outcomes, '', ''}, {'HDEL', outcomes, ''}, {'ZADD', age, '0', ''}, {'ZREM', age, ''},
    {'ZRANGEBYSCORE', age, '-inf', '0', 'LIMIT', '0', '1'}, {'ZRANGE', age, '0', '0'},
  })
  if problem then
    return problem
  end
  local now = now_ms()
  local stored = redis.call('HGET', outcomes, episode)
  local record = cjson.decode(stored or args[5])
  if stored and (outcome == '' or outcome == record.outcome) and (note == '' or note == record.note) then
    return stored
  end
  if not stored then
    record.acknowledged_by, record.acknowledged_ms = by, now
  end
  if outcome ~= '' and outcome ~= record.outcome then
    record.outcome, record.judged_by, record.judged_ms = outcome, by, now
  end
  if note ~= '' then
    record.note = note
  end
  record = cjson.encode(record)
  redis.call('HSET', outcomes, episode, record)
  redis.call('ZADD', age, now, episode)
  local excess = redis.call('ZRANGEBYSCORE', age, '-inf', string.format('%.0f', now - tonumber(args[6])), 'LIMIT', 0, 100)
  local over = redis.call('ZCARD', age) - #excess - tonumber(args[7])
  if over > 0 then
    excess = redis.call('ZRANGE', age, 0, math.min(#excess + over, 100) - 1)
  end
  for _, old in ipairs(excess) do
    drop(outcomes, age, old)
  end
  return record
end

redis.register_function('cx_alerts_apply_2', apply)
redis.register_function('cx_alerts_restore_1', restore)
redis.register_function('cx_alerts_forget_1', forget)
redis.register_function('cx_alerts_sweep_2', sweep)
redis.register_function('cx_alerts_acknowledge_1', acknowledge)
