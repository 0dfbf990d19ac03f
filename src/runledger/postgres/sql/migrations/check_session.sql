-- Can this transaction migrate, and on this server? Above READ COMMITTED it could not see what another process applied while it waited.
-- The text of a statement is sent in UTF-8: a session that reads it in another encoding would garble a name of more
-- than ASCII, which shows by its having more bytes than characters.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') AS is_read_committed,
       current_setting('transaction_read_only') = 'off' AS is_writable,
       current_setting('client_encoding') = 'UTF8' OR char_length('{schema}') = octet_length('{schema}')
           AS is_schema_readable,
       current_setting('server_version_num')::integer AS server_version_num
  FROM input
