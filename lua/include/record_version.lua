-- Expects version: the record's, or false. Leaves it sixteen characters long: zeros where there is none, no number where
-- redstate did not write it.
if not version then version = '0000000000000000' elseif #version ~= 16 then version = '----------------' end
