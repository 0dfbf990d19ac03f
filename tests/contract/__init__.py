"""What has to stay in step: SQL files, schema, lock, records, enumerations, public names, the two runners."""
