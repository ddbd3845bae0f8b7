"""Forecasting of one or many columns, with intervals.

    seqloom run forecast                       hourly demand with holidays and promotions, generated
    seqloom train forecast --data my.csv --target OT --horizon 24 --lookback 336

docs/series.md says how a csv is read; docs/results.md holds the scores to expect.
"""

from tasks.kinds.forecasting import Forecasting

TASK = Forecasting(
    name="forecast",
    summary="many steps of the future of a series, with intervals",
)
