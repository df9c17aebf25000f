"""One self-contained HTML page: figures, tables and pictures of runs in a single file."""

from homeo_rl.report.page.page import write_page
from homeo_rl.report.page.report_data import (
    Damage,
    EpisodeRequest,
    RecordedEpisode,
    ReportData,
    collect,
    request_episodes,
)

__all__ = ["Damage", "EpisodeRequest", "RecordedEpisode", "ReportData", "collect", "request_episodes", "write_page"]
