-- The version is for snapshots of keys. Apps come with what callers send, and nobody keeps a snapshot of them.

DROP TRIGGER apps_in;
DROP TRIGGER apps_up;
DROP TRIGGER apps_out;
