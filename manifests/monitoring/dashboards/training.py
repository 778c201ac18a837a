"""How trainings go: loss, speed, what is left, and whether their GPUs have work."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from manifests.monitoring.dashboards.panels import board, choice, graph, number

ME = 'namespace=~"$namespace",project=~"$project"'


def training() -> Dashboard:
    legend = "{{project}} {{trainjob}}"
    made = board(
        "sluice-training",
        "Sluice / Training",
        "Loss, speed, remaining time and GPUs of trainings that serve metrics (train.metrics_port; TrainJobs do).",
        choice("namespace", "Environment", "label_values(sluice_train_step, namespace)"),
        choice("project", "Project", 'label_values(sluice_train_step{namespace=~"$namespace"}, project)'),
    )
    return (
        made.with_row(Row("Now"))
        .with_panel(number("Trainings", f"count(sluice_train_step{{{ME}}})", none="0"))
        .with_panel(
            number(
                "Done",
                f"min(sluice_train_step{{{ME}}} / (sluice_train_steps{{{ME}}} > 0))",
                unit="percentunit",
                about="Of the one with most before it.",
            )
        )
        .with_panel(number("Left", f"max(sluice_train_seconds_left{{{ME}}})", unit="s", about="At the present rate."))
        .with_panel(number("Samples a second", f"sum(sluice_train_samples_per_second{{{ME}}})"))
        .with_panel(
            number(
                "Warnings", f"sum(sluice_train_warnings{{{ME}}})", warn=1, bad=5, about="Restarts, checkpoints that could not be written."
            )
        )
        .with_panel(
            number(
                "Memory",
                f"max(sluice_train_process_memory_bytes{{{ME}}})",
                unit="bytes",
                about="Of the largest first process, after its last epoch.",
            )
        )
        .with_row(Row("Learning"))
        .with_panel(
            graph(
                "Loss",
                (f"sluice_train_loss{{{ME}}}", legend),
                (f"sluice_train_validation_loss{{{ME}}}", legend + " validation"),
                width=12,
                about="Mean of the epoch so far; validation after each epoch.",
                zero=False,
            )
        )
        .with_panel(
            graph("Steps done", (f"sluice_train_step{{{ME}}}", legend), (f"sluice_train_steps{{{ME}}}", legend + " in all"), width=12)
        )
        .with_row(Row("Speed"))
        .with_panel(graph("Samples a second", (f"sluice_train_samples_per_second{{{ME}}}", legend), width=12))
        .with_panel(
            graph(
                "GPUs at work",
                (f"sluice_train_gpu_utilisation_ratio{{{ME}}}", legend + " {{gpu}}"),
                unit="percentunit",
                width=12,
                about="By NVML, on the first node. Low while training: the input is the bottleneck.",
            )
        )
        .with_panel(graph("GPU memory", (f"sluice_train_gpu_memory_bytes{{{ME}}}", legend + " {{gpu}}"), unit="bytes", width=12))
        .with_panel(
            graph(
                "GPUs at work, all nodes",
                ('avg by (namespace, pod) (DCGM_FI_DEV_GPU_UTIL{pod=~".+-node-[0-9]+-[0-9]+-.+"})', "{{namespace}}/{{pod}}"),
                unit="percent",
                width=12,
                about="By the DCGM exporter.",
            )
        )
    )
