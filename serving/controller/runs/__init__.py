"""The controllers of `PipelineSchedule` and `PipelineRun`: Kubeflow Pipelines by custom resources."""
