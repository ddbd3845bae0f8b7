"""Anomalies in a series, row by row.

    seqloom run anomaly                        a machine's sensors with faults, generated
    seqloom train anomaly --data my.csv --split 0.5,0.1,0.4

Train on rows that are mostly normal. docs/series.md says how a csv is read and what the scores are.
"""

from tasks.kinds.anomaly_detection import AnomalyDetection

TASK = AnomalyDetection(
    name="anomaly",
    summary="which rows of a series are not as they should be, as they come in",
)
