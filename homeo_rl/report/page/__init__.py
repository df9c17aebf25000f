"""One offline page of HTML: figures, tables and pictures of runs, inside a single file."""

from homeo_rl.report.page.episode_requests import EpisodeRequest, episode_requests
from homeo_rl.report.page.inputs import Damage, RecordedEpisode
from homeo_rl.report.page.page import Page, write_page
from homeo_rl.report.page.report_data import ReportData, collect

__all__ = ["Damage", "ReportData", "Page", "RecordedEpisode", "EpisodeRequest", "collect", "episode_requests", "write_page"]
