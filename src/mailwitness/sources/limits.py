"""From which sizes on an input is loaded in another way."""

# Below this size records go through Python one by one: many small files then share one segment.
SMALL_BYTES = 2 * 1024 * 1024
# Above this a record is not loaded: its place and start are kept in quarantine.
LARGEST_RECORD_BYTES = 64 * 1024 * 1024
# From here on a reader that can do so converts whole stretches of a log instead of single records.
BULK_BYTES = 8 * 1024 * 1024
# Records of small inputs are written as a segment when so much of them has gathered.
BATCH_BYTES = 64 * 1024 * 1024
# So much of the first record of an unknown kind is looked at to say what it is.
SHOWN_RECORD_BYTES = 64 * 1024
# So many names of members are remembered: damage makes new ones without end.
MOST_NAMES = 10_000
