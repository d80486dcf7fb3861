-- What the teacher wrote where a reply came but could not be kept: people can see why.
ALTER TABLE failures ADD COLUMN text VARCHAR DEFAULT '';
