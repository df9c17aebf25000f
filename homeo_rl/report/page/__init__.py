"""One offline page of HTML: figures, tables and pictures of runs, inside a single file."""

from homeo_rl.report.page.episode_requests import Wish, wishes
from homeo_rl.report.page.inputs import Damage, RecordedEpisode
from homeo_rl.report.page.page import Page, write_page
from homeo_rl.report.page.report_data import Material, gather

__all__ = ["Damage", "Material", "Page", "RecordedEpisode", "Wish", "gather", "wishes", "write_page"]
