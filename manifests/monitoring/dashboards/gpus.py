"""Each GPU, by the names of NVIDIA's DCGM exporter (its default counters)."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from manifests.monitoring.dashboards.panels import board, choice, graph, number

ME = 'Hostname=~"$node"'


def gpus() -> Dashboard:
    made = board(
        "sluice-gpus",
        "Sluice / GPUs",
        "Utilisation, memory, temperature, power and faults of every GPU.",
        choice("node", "Node", "label_values(DCGM_FI_DEV_GPU_UTIL, Hostname)"),
    )
    legend, full = "{{Hostname}} {{gpu}}", f"DCGM_FI_DEV_FB_USED{{{ME}}} / (DCGM_FI_DEV_FB_USED{{{ME}}} + DCGM_FI_DEV_FB_FREE{{{ME}}})"
    return (
        made.with_row(Row("Now"))
        .with_panel(number("GPUs", f"count(DCGM_FI_DEV_GPU_UTIL{{{ME}}})"))
        .with_panel(number("Utilisation", f"avg(DCGM_FI_DEV_GPU_UTIL{{{ME}}})", unit="percent"))
        .with_panel(number("Fullest memory", f"max({full})", unit="percentunit", warn=0.9, bad=0.95))
        .with_panel(number("Hottest", f"max(DCGM_FI_DEV_GPU_TEMP{{{ME}}})", unit="celsius", warn=80, bad=85))
        .with_panel(number("Power", f"sum(DCGM_FI_DEV_POWER_USAGE{{{ME}}})", unit="watt"))
        .with_panel(
            number("With a fault", f"count(DCGM_FI_DEV_XID_ERRORS{{{ME}}} > 0)", bad=1, none="0", about="GPUs whose last XID is not 0.")
        )
        .with_row(Row("Work"))
        .with_panel(
            graph(
                "Utilisation",
                (f"DCGM_FI_DEV_GPU_UTIL{{{ME}}}", legend),
                unit="percent",
                about="Share of time in which any kernel ran: 100 does not mean full.",
            )
        )
        .with_panel(
            graph(
                "Tensor cores active",
                (f"DCGM_FI_PROF_PIPE_TENSOR_ACTIVE{{{ME}}}", legend),
                unit="percentunit",
                about="Nothing where the exporter leaves profiling counters out.",
            )
        )
        .with_panel(graph("Memory", (full, legend), unit="percentunit"))
        .with_panel(
            graph(
                "Utilisation by pod",
                (f'avg by (namespace, pod) (DCGM_FI_DEV_GPU_UTIL{{{ME},pod!=""}})', "{{namespace}}/{{pod}}"),
                unit="percent",
                width=24,
            )
        )
        .with_row(Row("Health"))
        .with_panel(graph("Temperature", (f"DCGM_FI_DEV_GPU_TEMP{{{ME}}}", legend), unit="celsius", zero=False))
        .with_panel(graph("Power", (f"DCGM_FI_DEV_POWER_USAGE{{{ME}}}", legend), unit="watt"))
        .with_panel(graph("SM clock", (f"DCGM_FI_DEV_SM_CLOCK{{{ME}}} * 1e6", legend), unit="hertz", about="Falls when a card throttles."))
        .with_panel(graph("Last XID", (f"DCGM_FI_DEV_XID_ERRORS{{{ME}}}", legend), width=24))
    )
