-- Limits that were set for the cart. Expects first: where pairs of name and value begin in args; quantity and had: the
-- line's quantity as it shall be and was. Leaves options: the values by name.
-- What takes pieces away is never refused, as a limit can come to lie below what a cart holds.
local options = {}
for i = first, #args, 2 do options[args[i]] = args[i + 1] end
if not had or quantity > had then
  if options.max_quantity and quantity > tonumber(options.max_quantity) then
    return redis.error_reply('RSCART quantity')
  end
  if options.max_pieces or (options.max_lines and not had) then
    -- @include cart_lines
    if options.max_lines and not had and #lines >= tonumber(options.max_lines) then
      return redis.error_reply('RSCART lines')
    end
    if options.max_pieces then
      local pieces = quantity - (had or 0)
      for _, name in ipairs(lines) do
        local count = tonumber(call('HGET', KEYS[1], name))
        if not count or count < 1 or count % 1 ~= 0 or count > 1000000000 then
          return redis.error_reply('RSCORRUPT cart')
        end
        pieces = pieces + count
      end
      if pieces > tonumber(options.max_pieces) then return redis.error_reply('RSCART pieces') end
    end
  end
end
