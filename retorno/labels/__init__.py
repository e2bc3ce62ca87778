"""What people were asked and what they said, in one database: rankings, demonstrations, thumbs; later clips."""

from retorno.labels.agreement import Agreement, between_labellers, with_scores
from retorno.labels.database import Label, Labelled, Labels, Progress, Query
from retorno.labels.opening import LabelsError
from retorno.labels.records import demonstrations, rankings, read_queries, read_records, take, write_records

__all__ = [
    "Agreement",
    "Label",
    "Labelled",
    "Labels",
    "LabelsError",
    "Progress",
    "Query",
    "between_labellers",
    "demonstrations",
    "rankings",
    "read_queries",
    "read_records",
    "take",
    "with_scores",
    "write_records",
]
