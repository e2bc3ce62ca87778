"""What people were asked and what they said, in one database: rankings, demonstrations, thumbs, clips."""

from retorno.labels.agreement import Agreement, between_labellers, with_scores
from retorno.labels.database import Label, Labelled, Labels, Progress, Query, Taken
from retorno.labels.opening import LabelsError, is_url
from retorno.labels.ordering import Draft, Order, shown_order
from retorno.labels.records import demonstrations, rankings, segments, write_records

__all__ = [
    "Agreement",
    "Draft",
    "Label",
    "Labelled",
    "Labels",
    "LabelsError",
    "Order",
    "Progress",
    "Query",
    "Taken",
    "between_labellers",
    "demonstrations",
    "is_url",
    "rankings",
    "segments",
    "shown_order",
    "with_scores",
    "write_records",
]
