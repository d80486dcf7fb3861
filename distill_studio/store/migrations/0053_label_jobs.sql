-- Which job asked for a topic's label: one that goes on after a stop pays for none twice.

ALTER TABLE topic_clusters ADD COLUMN label_job VARCHAR DEFAULT '';
