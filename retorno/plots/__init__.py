"""Pictures and pages: learning curves, value maps, graphs of models, reports of runs."""

from retorno.plots.answers import greedy
from retorno.plots.curves import learning_curve, mean_reach, metric_curves, seed_curves, seed_panels, seed_rows
from retorno.plots.frontier import frontier
from retorno.plots.graph import model_graph
from retorno.plots.maps import value_map
from retorno.plots.page import Picture, Section, Table, page, save_page
from retorno.plots.pictures import answer_picture
from retorno.plots.report import report
from retorno.plots.study import study
from retorno.plots.style import PlotError, save
from retorno.plots.sweeps import animate, bounds_plot, sweep_table
from retorno.plots.tuning import tuning

__all__ = [
    "Picture",
    "PlotError",
    "Section",
    "Table",
    "animate",
    "answer_picture",
    "bounds_plot",
    "frontier",
    "greedy",
    "learning_curve",
    "mean_reach",
    "metric_curves",
    "model_graph",
    "page",
    "report",
    "save",
    "save_page",
    "seed_curves",
    "seed_panels",
    "seed_rows",
    "study",
    "sweep_table",
    "tuning",
    "value_map",
]
