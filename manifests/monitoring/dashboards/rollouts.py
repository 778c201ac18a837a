"""Where each rollout stands, what was decided and why, and the two arms side by side."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from manifests.monitoring.dashboards.panels import board, choice, graph, number, states

ME = 'namespace=~"$namespace",name=~"$rollout"'
ARMS = 'namespace=~"$namespace",rollout=~"$rollout"'
NOW = "$__rate_interval"


def rollouts() -> Dashboard:
    by, legend = "sum by (rollout, version)", "{{rollout}} {{version}}"
    requests, failed = f"sluice_inference_requests_total{{{ARMS}}}", f'sluice_inference_requests_total{{{ARMS},code=~"5.."}}'
    made = board(
        "sluice-rollouts",
        "Sluice / Rollouts",
        "Phases, weights, decisions and the evidence of every rollout.",
        choice("namespace", "Environment", "label_values(sluice_rollout_phase, namespace)"),
        choice("rollout", "Rollout", 'label_values(sluice_rollout_phase{namespace=~"$namespace"}, name)'),
    )
    return (
        made.with_row(Row("Now"))
        .with_panel(
            number("On the way", f'count(sluice_rollout_phase{{{ME},phase!~"Succeeded|RolledBack|Superseded|Failed"}} == 1)', none="0")
        )
        .with_panel(number("Paused", f'count(sluice_rollout_phase{{{ME},phase="Paused"}} == 1)', warn=1, none="0"))
        .with_panel(number("Rolled back", f'count(sluice_rollout_phase{{{ME},phase="RolledBack"}} == 1)', warn=1, none="0"))
        .with_panel(number("Failed", f'count(sluice_rollout_phase{{{ME},phase="Failed"}} == 1)', bad=1, none="0"))
        .with_panel(
            number(
                "Controllers that act",
                'sum(sluice_rollout_leader{namespace=~"$namespace"})',
                about="One for an environment; the others stand by.",
            )
        )
        .with_panel(
            number(
                "Actions asked again",
                'sum(increase(sluice_rollout_action_faults_total{namespace=~"$namespace"}[1h]))',
                warn=1,
                bad=20,
                about="Failed at the API in the last hour.",
            )
        )
        .with_row(Row("Course"))
        .with_panel(states("Phases", f"sluice_rollout_phase{{{ME}}} == 1", "{{name}}: {{phase}}", width=12))
        .with_panel(
            graph("Weight of the candidate", (f'sluice_rollout_weight{{{ME},arm="candidate"}}', "{{name}}"), unit="percent", width=12)
        )
        .with_panel(
            graph(
                "Decisions",
                (
                    'sum by (decision, reason) (increase(sluice_rollout_decisions_total{namespace=~"$namespace"}[1h]))',
                    "{{decision}} ({{reason}})",
                ),
                about="By hour; the reason is the first check that failed.",
            )
        )
        .with_panel(
            graph(
                "One look at the world, p99",
                (
                    f'histogram_quantile(0.99, sum by (le) (rate(sluice_rollout_look_seconds_bucket{{namespace=~"$namespace"}}[{NOW}])))',
                    "p99",
                ),
                unit="s",
            )
        )
        .with_panel(
            graph(
                "Actions that failed",
                (f'sum by (action) (rate(sluice_rollout_action_faults_total{{namespace=~"$namespace"}}[{NOW}]))', "{{action}}"),
                unit="ops",
                about="At the API, a second; each is asked again.",
            )
        )
        .with_row(Row("Arms"))
        .with_panel(graph("Requests", (f"{by} (rate({requests}[{NOW}]))", legend), unit="reqps"))
        .with_panel(
            graph(
                "Server errors",
                (f"({by} (rate({failed}[{NOW}])) or 0 * {by} (rate({requests}[{NOW}]))) / {by} (rate({requests}[{NOW}]))", legend),
                unit="percentunit",
            )
        )
        .with_panel(
            graph(
                "p99",
                (
                    f"histogram_quantile(0.99, sum by (rollout, version, le) (rate(sluice_inference_duration_seconds_bucket{{{ARMS}}}[{NOW}])))",
                    legend,
                ),
                unit="s",
            )
        )
        .with_row(Row("KServe"))
        .with_panel(
            graph(
                "Reconciliations",
                (
                    'sum by (controller, result) (rate(controller_runtime_reconcile_total{controller=~"inferenceservice.*"}[' + NOW + "]))",
                    "{{controller}}: {{result}}",
                ),
                width=12,
                unit="ops",
            )
        )
        .with_panel(graph("Waiting for KServe", ('sum by (name) (workqueue_depth{name=~"inferenceservice.*"})', "{{name}}"), width=12))
    )
