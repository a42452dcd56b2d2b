-- What could have been seen, as it is kept.

-- step: visibility
COPY (
  SELECT 0::UTINYINT AS _State, FromAt AS TimeGenerated, ToAt AS EndTime, date_diff('second', FromAt, ToAt) / 3600.0 AS Hours, coalesce(Subject, '') AS Subject, Source, State, Cause, Reason,
    coalesce(Records, 0) AS Records, coalesce(Missing, 0) AS Missing, coalesce(Actor, '') AS Actor, coalesce(Exhibit, '') AS _Exhibit, coalesce(Position, 0) AS _Position
  FROM claims WHERE FromAt IS NOT NULL AND ToAt >= FromAt ORDER BY Source, Subject, FromAt, ToAt, State, Reason
) TO {visibility} (FORMAT parquet, COMPRESSION lz4_raw);
