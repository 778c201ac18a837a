"""The few kinds of panel the dashboards are made of."""

from __future__ import annotations

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models import common as c
from grafana_foundation_sdk.models import dashboard as d
from grafana_foundation_sdk.models import prometheus as p

SOURCE = d.DataSourceRef(type_val="prometheus", uid="${datasource}")
#: (PromQL, legend) of one line or family of lines.
Query = tuple[str, str]
WIDTH = 24


def board(uid: str, title: str, description: str, *variables: dashboard.QueryVariable) -> dashboard.Dashboard:
    """An empty dashboard: data source first among its variables, six hours, one pointer over all graphs."""
    source = dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
    made = dashboard.Dashboard(title).uid(uid).description(description).tags(["sluice"]).readonly().time("now-6h", "now").refresh("30s")
    made = made.tooltip(d.DashboardCursorSync.CROSSHAIR).with_variable(source)
    for variable in variables:
        made = made.with_variable(variable)
    others = dashboard.DashboardLink("Sluice").type(d.DashboardLinkType.DASHBOARDS).tags(["sluice"]).as_dropdown(True).keep_time(True)
    return made.link(others)


def choice(name: str, label: str, query: str) -> dashboard.QueryVariable:
    """A variable of any number of a label's values; all of them at first."""
    made = dashboard.QueryVariable(name).label(label).query(query).datasource(SOURCE).refresh(d.VariableRefresh.ON_TIME_RANGE_CHANGED)
    return made.sort(d.VariableSort.ALPHABETICAL_ASC).multi(True).include_all(True).all_value(".*")


def _targets(panel: object, queries: tuple[Query, ...], **how: bool) -> None:
    for i, (expr, legend) in enumerate(queries):
        target = prometheus.Dataquery().ref_id(chr(ord("A") + i)).expr(expr).legend_format(legend).datasource(SOURCE)
        if how.get("table"):
            target = target.instant().format(p.PromQueryFormat.TABLE)
        panel.with_target(target)  # type: ignore[attr-defined]


def graph(
    title: str, *queries: Query, unit: str = "short", about: str = "", width: int = 8, zero: bool = True, stacked: bool = False
) -> timeseries.Panel:
    """Lines over time. `unit` is Grafana's id of one; `width` of 24."""
    legend = common.VizLegendOptions().display_mode(c.LegendDisplayMode.LIST).placement(c.LegendPlacement.BOTTOM).show_legend(True)
    tooltip = common.VizTooltipOptions().mode(c.TooltipDisplayMode.MULTI).sort(c.SortOrder.DESCENDING)
    panel = timeseries.Panel().title(title).description(about).datasource(SOURCE).unit(unit).span(width).height(8)
    panel = panel.legend(legend).tooltip(tooltip).line_width(1).fill_opacity(10).show_points(c.VisibilityMode.NEVER)
    if zero:
        panel = panel.min(0)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(c.StackingMode.NORMAL)).fill_opacity(40)
    _targets(panel, queries)
    return panel


def number(
    title: str,
    expr: str,
    *,
    unit: str = "short",
    about: str = "",
    width: int = 4,
    warn: float | None = None,
    bad: float | None = None,
    none: str = "no data",
) -> stat.Panel:
    """One number as it is now, amber from `warn` and red from `bad` on."""
    steps = [d.Threshold(value=None, color="green" if bad is not None else "blue")]
    steps += [d.Threshold(value=v, color=color) for v, color in ((warn, "orange"), (bad, "red")) if v is not None]
    panel = stat.Panel().title(title).description(about).datasource(SOURCE).unit(unit).span(width).height(4).no_value(none)
    panel = panel.thresholds(dashboard.ThresholdsConfig().mode(d.ThresholdsMode.ABSOLUTE).steps(steps))
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False)).graph_mode(
        c.BigValueGraphMode.AREA
    )
    _targets(panel, ((expr, ""),))
    return panel


def states(title: str, expr: str, legend: str, *, about: str = "", width: int = WIDTH, height: int = 8) -> statetimeline.Panel:
    """A bar for each series while it is 1."""
    on = d.ValueMap(options={"1": d.ValueMappingResult(text="", color="blue", index=0)})
    panel = statetimeline.Panel().title(title).description(about).datasource(SOURCE).span(width).height(height).mappings([on])
    panel = panel.show_value(c.VisibilityMode.NEVER).merge_values(True).row_height(0.7)
    _targets(panel, ((expr, legend),))
    return panel


def listing(title: str, expr: str, *, hide: tuple[str, ...] = (), about: str = "", width: int = WIDTH) -> table.Panel:
    """A row for each series as it is now, its labels the columns."""
    panel = table.Panel().title(title).description(about).datasource(SOURCE).span(width).height(8)
    columns = d.DataTransformerConfig(
        id_val="organize", options={"excludeByName": dict.fromkeys(("Time", "Value", "__name__", *hide), True)}
    )
    panel = panel.with_transformation(columns)
    _targets(panel, ((expr, ""),), table=True)
    return panel
