"""The controllers of ModelRollout, PipelineSchedule and PipelineRun."""
