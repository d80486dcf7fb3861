-- When a process began, told without the wall clock, which can be set while it runs.

ALTER TABLE servers ADD COLUMN pid_mark VARCHAR DEFAULT '';
ALTER TABLE benchmark_runs ADD COLUMN pid_mark VARCHAR DEFAULT '';
