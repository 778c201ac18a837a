"""What each model answers, how fast and how often wrong, version beside version."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from manifests.monitoring.dashboards.panels import board, choice, graph, listing, number

ME = 'namespace=~"$namespace",model=~"$model"'
NOW = "$__rate_interval"
REQUESTS = f"sluice_inference_requests_total{{{ME}}}"
FAILED = f'sluice_inference_requests_total{{{ME},code=~"5.."}}'
PODS = 'namespace=~"$namespace",inferenceservice!=""'


def quantile(q: float, name: str, by: str = "model, version") -> str:
    return f"histogram_quantile({q}, sum by ({by}, le) (rate({name}_bucket{{{ME}}}[{NOW}])))"


def models() -> Dashboard:
    by, legend = "sum by (model, version)", "{{model}} {{version}}"
    made = board(
        "sluice-models",
        "Sluice / Models",
        "Requests, errors, latency and predictions of every model by version.",
        choice("namespace", "Environment", "label_values(sluice_model_info, namespace)"),
        choice("model", "Model", 'label_values(sluice_model_info{namespace=~"$namespace"}, model)'),
    )
    return (
        made.with_row(Row("Now"))
        .with_panel(number("Requests a second", f"sum(rate({REQUESTS}[{NOW}]))", unit="reqps"))
        .with_panel(
            number(
                "Server errors",
                "max(sluice:errors:ratio_rate5m{" + ME + "})",
                unit="percentunit",
                warn=0.01,
                bad=0.06,
                about="Of the worst model, over five minutes; the objective allows 1 %.",
            )
        )
        .with_panel(
            number(
                "p99",
                "max(sluice:latency:p99_5m{" + ME + "} > 0)",
                unit="s",
                warn=0.5,
                bad=1,
                about="Of the slowest version, over five minutes.",
            )
        )
        .with_panel(
            number(
                "Late",
                "max(sluice:slow:ratio_rate5m{" + ME + "})",
                unit="percentunit",
                warn=0.005,
                bad=0.01,
                about="Answers later than the latency objective, of the worst version.",
            )
        )
        .with_panel(number("Replicas", f"count(sluice_workers{{{PODS}}} > 0)"))
        .with_panel(
            number("Workers that died", f"sum(increase(sluice_worker_restarts_total{{{PODS}}}[1h]))", warn=1, bad=3, about="In an hour.")
        )
        .with_row(Row("Requests"))
        .with_panel(graph("Requests by version", (f"{by} (rate({REQUESTS}[{NOW}]))", legend), unit="reqps"))
        .with_panel(graph("Answers by status", (f"sum by (code) (rate({REQUESTS}[{NOW}]))", "{{code}}"), unit="reqps", stacked=True))
        .with_panel(
            graph(
                "Server errors by version",
                (f"({by} (rate({FAILED}[{NOW}])) or 0 * {by} (rate({REQUESTS}[{NOW}]))) / {by} (rate({REQUESTS}[{NOW}]))", legend),
                unit="percentunit",
            )
        )
        .with_row(Row("Latency"))
        .with_panel(
            graph(
                "p50, p90 and p99 of all",
                *((quantile(q, "sluice_inference_duration_seconds", "model"), f"{{{{model}}}} p{q * 100:g}") for q in (0.5, 0.9, 0.99)),
                unit="s",
                about="From the whole request read to the answer written.",
            )
        )
        .with_panel(graph("p99 by version", (quantile(0.99, "sluice_inference_duration_seconds"), legend), unit="s"))
        .with_panel(graph("Late answers by version", ("sluice:slow:ratio_rate5m{" + ME + "}", legend), unit="percentunit"))
        .with_row(Row("Saturation"))
        .with_panel(graph("Wait for the engine, p99", (quantile(0.99, "sluice_queue_wait_seconds"), legend), unit="s"))
        .with_panel(
            graph(
                "In flight, and waiting",
                (f"{by} (sluice_inference_in_flight{{{ME}}})", legend),
                (f"sum(sluice_queue_depth{{{PODS}}})", "waiting, all models"),
            )
        )
        .with_panel(
            graph(
                "Engine busy",
                (f"{by} (rate(sluice_run_seconds_total{{{ME}}}[{NOW}]))", legend),
                unit="short",
                about="Seconds in the engine a second: cores in use by runs.",
            )
        )
        .with_panel(
            graph(
                "Rows of a run",
                (f"{by} (rate(sluice_batch_size_sum{{{ME}}}[{NOW}])) / {by} (rate(sluice_batch_size_count{{{ME}}}[{NOW}]))", legend),
            )
        )
        .with_panel(
            graph(
                "Cache hits",
                (
                    f"{by} (rate(sluice_cache_hits_total{{{ME}}}[{NOW}])) / ({by} (rate(sluice_cache_hits_total{{{ME}}}[{NOW}])) + {by} (rate(sluice_cache_misses_total{{{ME}}}[{NOW}])))",
                    legend,
                ),
                unit="percentunit",
                about="Nothing where the cache is off.",
            )
        )
        .with_panel(
            graph(
                "Refused before a route",
                (f"sum by (reason) (rate(sluice_http_refused_total{{{PODS}}}[{NOW}]))", "{{reason}}"),
                unit="reqps",
            )
        )
        .with_row(Row("Predictions"))
        .with_panel(
            graph(
                "Share of each label",
                (
                    f"sum by (model, version, label) (rate(sluice_predictions_total{{{ME}}}[{NOW}])) / ignoring (label) group_left sum by (model, version) (rate(sluice_predictions_total{{{ME}}}[{NOW}]))",
                    "{{model}} {{version}}: {{label}}",
                ),
                unit="percentunit",
                width=12,
                about="A shift between versions, or over days, is a reason to look at the data.",
            )
        )
        .with_panel(
            graph(
                "Median of predicted values",
                (quantile(0.5, "sluice_prediction_value"), legend),
                zero=False,
                width=12,
                about="Of regressions.",
            )
        )
        .with_row(Row("Watched"))
        .with_panel(
            graph(
                "Drift of the ten features that moved most",
                (f"topk(10, max by (model, version, feature) (sluice_drift_score{{{ME}}}))", legend + ": {{feature}}"),
                width=12,
                about="Of the last window; by a ModelMonitor.",
            )
        )
        .with_panel(
            graph(
                "Quality",
                (f"max by (model, version, metric) (sluice_model_quality{{{ME}}})", legend + ": {{metric}}"),
                (f"max by (model) (sluice_model_quality_floor{{{ME}}})", "{{model}}: floor"),
                zero=False,
                width=12,
                about="Of the last window with labels.",
            )
        )
        .with_row(Row("Gateway and versions"))
        .with_panel(
            graph(
                "Answers of the gateway by class",
                (
                    'sum by (envoy_response_code_class) (rate(envoy_cluster_upstream_rq_xx{envoy_cluster_name=~"httproute/.+"}['
                    + NOW
                    + "]))",
                    "{{envoy_response_code_class}}xx",
                ),
                unit="reqps",
                stacked=True,
                about="Counted by Envoy, also when no model is there to count.",
            )
        )
        .with_panel(
            listing("What serves", f"max by (namespace, model, version, digest, inferenceservice) (sluice_model_info{{{ME}}})", width=16)
        )
    )
