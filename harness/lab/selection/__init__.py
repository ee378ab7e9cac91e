"""What choosing among finished attempts is worth, on recorded patches of many agents."""

from harness.lab.selection.study import SelectionSettings, study_selection

__all__ = ["SelectionSettings", "study_selection"]
