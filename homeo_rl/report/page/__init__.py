"""One offline page of HTML: figures, tables and pictures of runs, inside a single file."""

from homeo_rl.report.page.given import Damage, Specimen
from homeo_rl.report.page.material import Material, gather
from homeo_rl.report.page.page import Page, write_page
from homeo_rl.report.page.wishes import Wish, wishes

__all__ = ["Damage", "Material", "Page", "Specimen", "Wish", "gather", "wishes", "write_page"]
