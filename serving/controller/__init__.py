"""The controllers of ModelRollout, PipelineSchedule, PipelineRun and ModelMonitor."""
