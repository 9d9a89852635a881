"""What Redis runs for rows of a view: compare event times, set fields, extend expiry. From Redis 7.0 on."""

from __future__ import annotations

_NAMED = 40
"""So many fields are held in local variables, a tenth faster than in tables. Lua has 250 places for them."""


def script(fields: int) -> str:
    """For rows of so many fields, the event time's among them."""
    if fields > _NAMED:
        prepare, unpacked, pairs = _IN_TABLES
    else:
        numbers = range(fields)
        names, values = (", ".join(f"{letter}{i}" for i in numbers) for letter in "fv")
        prepare = f"local {names} = {', '.join(f'ARGV[{i + 3}]' for i in numbers)}"
        unpacked = f"local ms, expiry, {values}, after = unpack_row(layout, rows, at)\n  local new = v0"
        pairs = ", ".join(f"f{i}, v{i}" for i in numbers)
    return _SCRIPT.replace("$PREPARE", prepare).replace("$UNPACK", unpacked).replace("$PAIRS", pairs)


_IN_TABLES = (
    "local pairs_, width = {}, #ARGV - 2\nfor i = 1, width do pairs_[2 * i - 1] = ARGV[i + 2] end",
    "local row = {unpack_row(layout, rows, at)}\n"
    "  local ms, expiry, new, after = row[1], row[2], row[3], row[width + 3]\n"
    "  for i = 1, width do pairs_[2 * i] = row[i + 2] end",
    "unpack(pairs_, 1, 2 * width)",
)

_SCRIPT = """\
-- KEYS: a hash for each row. ARGV: how a row is laid out (struct.unpack), the rows one after another, the
-- field of the event time, the fields of the features. A row: event time in ms (a double), when it expires
-- in ms (text), the event time as a Timestamp message, the values. Answers how many rows were older.
local call, byte, unpack_row = redis.call, string.byte, struct.unpack
local layout, rows, fields = ARGV[1], ARGV[2], #ARGV - 2
$PREPARE

-- A Timestamp message in ms: seconds is field 1, nanos is field 2, either may be absent.
local function milliseconds(message)
  local total, at = 0, 1
  while at <= #message do
    local tag, first = byte(message, at), at + 1
    local value, scale, b = 0, 1, 0
    repeat
      at = at + 1
      b = byte(message, at)
      value = value + (b % 128) * scale
      scale = scale * 128
    until b < 128
    at = at + 1
    if at - first == 10 then  -- negative: the complement, which a double holds exactly
      value, scale = -1, 1
      for i = first, at - 2 do
        value = value - (127 - byte(message, i) % 128) * scale
        scale = scale * 128
      end
    end
    if tag == 8 then total = total + value * 1000 elseif tag == 16 then total = total + value / 1e6 end
  end
  return total
end

-- Whether a stored time is later than ms. Seconds of five bytes, from 1978 to 3058, mostly suffice to tell,
-- and take a fraction of the time.
local function later(message, ms)
  local tag, b, c, d, e, f = byte(message, 1, 6)
  if tag == 8 and f and b > 127 and c > 127 and d > 127 and e > 127 and f < 128 then
    local seconds = b + c * 128 + d * 16384 + e * 2097152 + f * 268435456 - 270549120
    if ms >= (seconds + 1) * 1000 then return false end
  end
  return milliseconds(message) > ms
end

local older, at = 0, 1
for r = 1, #KEYS do
  local key = KEYS[r]
  $UNPACK
  at = after
  local stored = redis.pcall('HGET', key, ARGV[3])
  if type(stored) == 'table' then
    return redis.error_reply(stored.err .. ' (row ' .. r .. ')')
  end
  if stored and stored ~= new and later(stored, ms) then
    older = older + 1
  else
    call('HSET', key, $PAIRS)
    -- Never shorter, since views share the hash; and one of others without expiry stays without.
    if stored or call('HLEN', key) > fields then
      call('PEXPIREAT', key, expiry, 'GT')
    else
      call('PEXPIREAT', key, expiry)
    end
  end
end
return older
"""
