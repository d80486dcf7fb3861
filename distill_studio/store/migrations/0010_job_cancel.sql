-- A stop that was asked for outlives the process that was to notice it.
ALTER TABLE jobs ADD COLUMN cancel_requested BOOLEAN DEFAULT false;
