"""Jobs: a validated configuration, and running, planning and verifying it.

from corpusmill.jobs import JobConfig, run
result = run(JobConfig.from_yaml("job.yaml"))
"""

from corpusmill.jobs.config import JobConfig
from corpusmill.jobs.problems import ConfigError, Problem
from corpusmill.jobs.run import RunResult, run

__all__ = ["ConfigError", "JobConfig", "Problem", "RunResult", "run"]
