-- When something was really sent back (from then on only the exam half of the suite counts), what it
-- was, and when and by whom that was taken back. A step that has sent nothing marks nothing.

ALTER TABLE feedback ADD COLUMN sent_at TIMESTAMPTZ;
ALTER TABLE feedback ADD COLUMN undone_at TIMESTAMPTZ;
ALTER TABLE feedback ADD COLUMN undone_by VARCHAR DEFAULT '';
ALTER TABLE feedback ADD COLUMN made VARCHAR[] DEFAULT [];

UPDATE feedback SET sent_at = created_at WHERE kind = 'preferences' OR id IN (
    SELECT json_extract_string(extra, '$.feedback') FROM seeds
    WHERE json_extract_string(extra, '$.feedback') IS NOT NULL
);
